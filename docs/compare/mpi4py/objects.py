"""A nested object travels to rank 1 and back: mpirun -n 2 python objects.py"""

from dataclasses import dataclass

from mpi4py import MPI


@dataclass
class Circle:
    radius: float


@dataclass
class Polygon:
    corners: list[tuple[float, float]]


@dataclass
class Job:
    id: int
    shape: Circle | Polygon | None
    settings: dict[str, float]
    notes: list[list[str]]


def main():
    comm = MPI.COMM_WORLD
    if comm.rank == 0:
        job = Job(
            id=42,
            shape=Polygon([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]),
            settings={"tolerance": 1e-9, "steps": 100.0},
            notes=[["first", "second"], [], ["third"]],
        )
        # [algorithm]
        comm.send(job, dest=1)
        back = comm.recv(source=1)
        # [end]
        assert back == job, "the job changed on its way"
        print("the job came back unchanged")
    elif comm.rank == 1:
        # [algorithm]
        job = comm.recv(source=0)
        comm.send(job, dest=0)
        # [end]


if __name__ == "__main__":
    main()
