use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Variable that every process of a job inherits: the identifiers of the job and of the jobs that
/// it was started in, outermost first, separated by `/`.
pub const JOB_VARIABLE: &str = "PHALANX_JOB";

/// Whether this process belongs to a job that this crate started.
pub fn inside_a_job() -> bool {
    std::env::var_os(JOB_VARIABLE).is_some()
}

/// Identifies one job among all processes of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    id: String,
    value: String,
}

impl Marker {
    /// A new identifier inside the job, if any, that this process belongs to.
    pub(crate) fn new() -> Marker {
        Self::inside(std::env::var(JOB_VARIABLE).ok().as_deref())
    }

    fn inside(outer: Option<&str>) -> Marker {
        let random = |salt: u64| {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u64(salt);
            hasher.finish()
        };
        let id =
            format!("{:08x}{:016x}", std::process::id(), random(0) ^ random(1).rotate_left(32));
        let value = match outer {
            Some(outer) => format!("{outer}/{id}"),
            None => id.clone(),
        };
        Marker { id, value }
    }

    /// The identifier of this job alone.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What the processes of the job get as [`JOB_VARIABLE`].
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Whether a process with this environment (as in `/proc/PID/environ`) belongs to the job.
    pub(crate) fn is_in(&self, environment: &[u8]) -> bool {
        environment.split(|byte| *byte == 0).any(|variable| {
            variable
                .strip_prefix(JOB_VARIABLE.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"="))
                .is_some_and(|jobs| {
                    jobs.split(|byte| *byte == b'/').any(|job| job == self.id.as_bytes())
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_by_its_own_identifier_and_by_that_of_an_outer_job() {
        let outer = Marker::inside(None);
        let inner = Marker::inside(Some(outer.value()));
        let environment = format!("HOME=/\0PHALANX_JOB={}\0A=b\0", inner.value());
        assert!(outer.is_in(environment.as_bytes()));
        assert!(inner.is_in(environment.as_bytes()));
        assert!(!Marker::inside(None).is_in(environment.as_bytes()));
        let environment = format!("PHALANX_JOB={}\0", outer.value());
        assert!(!inner.is_in(environment.as_bytes()));
        let environment = format!("NOT_PHALANX_JOB={}\0", outer.value());
        assert!(!outer.is_in(environment.as_bytes()));
    }

    #[test]
    fn identifiers_differ() {
        assert_ne!(Marker::inside(None), Marker::inside(None));
    }
}
