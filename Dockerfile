# The examples, ready to run on any number of ranks, on one host or several.
#
#   docker build -t phalanx .                            Open MPI
#   docker build -t phalanx --build-arg MPI=mpich .      MPICH
#   docker run --rm phalanx                              π on 4 ranks
#   docker run --rm phalanx mpirun -n 2 heat --size 500  any example
#
# docs/containers.md says more: several hosts, Apptainer, Kubernetes.

# Where it is built (Rust on Debian or Ubuntu), and what it runs on.
ARG BUILDER=rust:1-bookworm
ARG RUNTIME=debian:bookworm-slim

FROM ${BUILDER} AS build
ARG MPI=openmpi
WORKDIR /src
COPY . .
RUN scripts/containers/build "${MPI}" /out

FROM ${RUNTIME}
ARG MPI=openmpi
COPY --from=build /out /
COPY scripts/containers/install /tmp/install
RUN /tmp/install "${MPI}" && rm /tmp/install
COPY scripts/containers/entrypoint /usr/local/bin/phalanx-entrypoint
COPY scripts/lib/mpi.sh scripts/containers/ssh-or-end /usr/local/lib/phalanx/
USER phalanx
WORKDIR /home/phalanx
ENV PATH=/opt/mpich/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# tini passes signals on and reaps what a job leaves behind.
ENTRYPOINT ["tini", "--", "phalanx-entrypoint"]
CMD ["mpirun", "-n", "4", "pi"]
