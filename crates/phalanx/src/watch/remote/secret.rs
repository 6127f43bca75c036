//! What the processes of a job know and nobody else does: how they recognise each other.

use serde::{Deserialize, Serialize};

/// Bytes of a proof.
pub(super) const PROOF: usize = 32;

/// The secret of a job, which its ranks have told each other over MPI.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub fn new(bytes: [u8; 32]) -> Self {
        Secret(bytes)
    }

    fn hash(&self, what_for: &str, parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // With their lengths, so that nothing can be taken for a longer or a shorter part.
        for part in [what_for.as_bytes()].iter().chain(parts) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }

    /// What only who knows the secret can say of these bytes.
    pub(super) fn proof(&self, what_for: &str, parts: &[&[u8]]) -> [u8; PROOF] {
        *self.hash(what_for, parts).as_bytes()
    }

    /// Whether that is it. It takes as long for a wrong proof as for another.
    pub(super) fn proves(&self, what_for: &str, parts: &[&[u8]], proof: &[u8; PROOF]) -> bool {
        self.hash(what_for, parts) == blake3::Hash::from_bytes(*proof)
    }

    /// A name from which the secret cannot be told.
    pub(super) fn name(&self) -> String {
        self.hash("name", &[]).to_hex()[..32].to_owned()
    }
}
