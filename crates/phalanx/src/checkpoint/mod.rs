//! Checkpoints: what a program needs to continue where it was, in files that are saved atomically.
//!
//! A [`Folder`] holds the checkpoints of one program. [`Folder::save`] is collective: all ranks agree on
//! the step, each writes its own [`Part`] at the same time as the others, and only when every byte is on
//! the disk does the file get its name. [`Folder::latest`] verifies each checksum and goes back to the
//! checkpoint before if one is damaged.
//!
//! ```
//! use phalanx::checkpoint::{Folder, Part};
//! # let path = std::env::temp_dir().join(format!("phalanx-doc-{}", std::process::id()));
//! # let doc = path.clone();
//! # phalanx::run(move |world| -> phalanx::Result<()> {
//! let folder = Folder::open(&world, &path)?;
//! let (mut step, mut cells) = (0, vec![0.0; 100]);
//! if let Some(saved) = folder.latest()? {
//!     step = saved.step();
//!     saved.mine()?.read_into("cells", &mut cells)?;
//! }
//! while step < 1000 {
//!     cells.iter_mut().for_each(|cell| *cell += 1.0);
//!     step += 1;
//!     if step % 250 == 0 {
//!         folder.save(step, Part::new().slice("cells", &cells))?;
//!     }
//! }
//! assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(1000));
//! # Ok(())
//! # });
//! # let _ = std::fs::remove_dir_all(doc);
//! ```
//!
//! With [`signal`](crate::signal) a program writes one when its batch system warns it, and ends.

mod files;
mod folder;
mod format;
mod part;
mod saved;
mod temporary;

pub use folder::Folder;
pub use part::Part;
pub use saved::{Checkpoint, Refused, SavedPart};
