use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::{Error, Result, elf};

/// The families of MPI libraries whose launchers understand each other's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Open MPI and what is built from it.
    OpenMpi,
    /// MPICH and what is built from it (MVAPICH, Cray MPICH), started by Hydra.
    Mpich,
    /// Intel MPI: MPICH's ABI, a launcher of its own.
    IntelMpi,
}

impl Family {
    /// Whether launchers of this family start programs that are linked to a library of `library`.
    /// Intel MPI has MPICH's start-up protocol, so that Hydra starts its programs too.
    #[must_use]
    pub fn starts(self, library: Family) -> bool {
        self == library || (self == Family::Mpich && library == Family::IntelMpi)
    }

    /// Whether programs that are built for this family may load a library of the other one: MPICH and
    /// Intel MPI have agreed on one ABI.
    #[must_use]
    pub fn shares_abi(self, other: Family) -> bool {
        let is_open_mpi = |family| family == Family::OpenMpi;
        is_open_mpi(self) == is_open_mpi(other)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::OpenMpi => "Open MPI",
            Family::Mpich => "MPICH",
            Family::IntelMpi => "Intel MPI",
        })
    }
}

/// An MPI library on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mpi {
    family: Family,
    library: PathBuf,
    named: PathBuf,
}

impl Mpi {
    /// The MPI library that this process has loaded.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_current_process() -> Result<Mpi> {
        let maps = fs::read_to_string("/proc/self/maps")
            .map_err(|error| Error::io("cannot read /proc/self/maps", error))?;
        let program = std::env::current_exe().unwrap_or_default();
        Self::among(mapped_files(&maps))
            .ok_or_else(|| Error::no_mpi(&program, "no libmpi is loaded in this process"))
    }

    /// The MPI library that the loader would give to `program`.
    ///
    /// # Errors
    /// When the program is not a dynamic executable, or is not linked to MPI.
    pub fn of_executable(program: impl AsRef<Path>) -> Result<Mpi> {
        let program = program.as_ref();
        let libraries = elf::loaded_libraries(program)?;
        Self::among(libraries)
            .ok_or_else(|| Error::no_mpi(program, "none of its shared libraries is one of MPI"))
    }

    fn among(libraries: impl IntoIterator<Item = PathBuf>) -> Option<Mpi> {
        libraries.into_iter().find_map(|named| {
            let family = family_of(&named)?;
            let library = fs::canonicalize(&named).unwrap_or_else(|_| named.clone());
            Some(Mpi { family, library, named })
        })
    }

    /// The family of the library.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Real path of the library.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Folders that may be the prefix of the installation, nearest first. The path by which the
    /// loader found the library counts too: it may be a link from a view into a store.
    pub(crate) fn prefixes(&self) -> Vec<PathBuf> {
        let mut prefixes: Vec<PathBuf> = Vec::new();
        for path in [&self.library, &self.named] {
            for folder in path.ancestors().skip(2) {
                if !prefixes.iter().any(|known| known == folder) {
                    prefixes.push(folder.to_owned());
                }
            }
        }
        // Outer folders such as / are the same for both paths and belong behind both insides.
        prefixes.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        prefixes
    }

    #[cfg(test)]
    pub(crate) fn for_test(family: Family, library: &str) -> Mpi {
        Mpi { family, library: library.into(), named: library.into() }
    }
}

/// Files mapped by a process, each once, from the text of its `maps`.
fn mapped_files(maps: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for line in maps.lines() {
        let Some(start) = line.find('/') else {
            continue;
        };
        let path = Path::new(line[start..].trim_end_matches(" (deleted)"));
        if !files.iter().any(|known| known == path) {
            files.push(path.to_owned());
        }
    }
    files
}

/// The family by the name of the library; where several families use one name, by its contents.
fn family_of(library: &Path) -> Option<Family> {
    let name = library.file_name()?.to_str()?;
    let (stem, version) = name.split_once(".so").unwrap_or((name, ""));
    let major: u32 = version.split('.').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    match stem {
        "libmpich" | "libmpi_cray" => Some(Family::Mpich),
        "libmpi_ibm" => Some(Family::OpenMpi),
        "libmpi" if major >= 20 => Some(Family::OpenMpi),
        "libmpi" | "libmpi_abi" => family_by_contents(library),
        // Cray names its library after the compiler: libmpi_gnu_123.so.12, libmpi_nvidia.so.12.
        _ if stem.starts_with("libmpi_") && major == 12 => Some(Family::Mpich),
        _ => None,
    }
}

fn family_by_contents(library: &Path) -> Option<Family> {
    const MARKS: [(&[u8], Family); 3] = [
        (b"Intel(R) MPI Library", Family::IntelMpi),
        (b"MPICH Version:", Family::Mpich),
        (b"Open MPI v", Family::OpenMpi),
    ];
    let real = fs::canonicalize(library).unwrap_or_else(|_| library.to_owned());
    let found = marks_in(&real, &MARKS.map(|(mark, _)| mark)).unwrap_or_default();
    // Intel's library also carries MPICH's text, so the order of the marks decides.
    if let Some(((_, family), _)) = MARKS.iter().zip(found).find(|(_, found)| *found) {
        return Some(*family);
    }
    let path = real.to_string_lossy().to_lowercase();
    if ["/intel", "oneapi", "/impi"].iter().any(|part| path.contains(part)) {
        return Some(Family::IntelMpi);
    }
    path.contains("libmpi.so.12").then_some(Family::Mpich)
}

/// Which of `marks` occur in the file, read piece by piece.
fn marks_in<const N: usize>(path: &Path, marks: &[&[u8]; N]) -> io::Result<[bool; N]> {
    let longest = marks.iter().map(|mark| mark.len()).max().unwrap_or(0);
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    let mut kept = 0;
    let mut found = [false; N];
    loop {
        let read = file.read(&mut piece[kept..])?;
        if read == 0 {
            return Ok(found);
        }
        let filled = kept + read;
        for (mark, found) in marks.iter().zip(&mut found) {
            *found = *found || memmem::find(&piece[..filled], mark).is_some();
        }
        // A mark may lie across two pieces.
        kept = filled.min(longest);
        piece.copy_within(filled - kept..filled, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_in_the_name_where_the_name_is_clear() {
        let family = |name: &str| family_of(Path::new(name));
        assert_eq!(family("/usr/lib/libmpi.so.40"), Some(Family::OpenMpi));
        assert_eq!(family("/usr/lib/openmpi/lib/libmpi.so.40.30.4"), Some(Family::OpenMpi));
        assert_eq!(family("/usr/lib/libmpich.so.12"), Some(Family::Mpich));
        assert_eq!(family("/opt/cray/lib/libmpi_cray.so.12"), Some(Family::Mpich));
        assert_eq!(family("/opt/cray/lib/libmpi_gnu_123.so.12"), Some(Family::Mpich));
        assert_eq!(family("/usr/lib/libmpi_mpifh.so.40"), None);
        assert_eq!(family("/usr/lib/libmpi_cxx.so.40"), None);
        assert_eq!(family("/usr/lib/libmpicxx.so.12"), None);
        assert_eq!(family("/usr/lib/libc.so.6"), None);
    }

    #[test]
    fn mpich_and_intel_share_a_name_and_are_told_apart() {
        let folder = std::env::temp_dir().join(format!("phalanx-mpi-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let library = folder.join("libmpi.so.12");
        let mut contents = vec![0; (1 << 20) - 5];
        contents.extend_from_slice(b"MPICH Version:      %s");
        fs::write(&library, &contents).unwrap();
        assert_eq!(family_of(&library), Some(Family::Mpich));
        contents.extend_from_slice(b"Intel(R) MPI Library for Linux* OS");
        fs::write(&library, &contents).unwrap();
        assert_eq!(family_of(&library), Some(Family::IntelMpi));
        let intel = Path::new("/opt/intel/oneapi/mpi/2021.19/lib/libmpi.so.12");
        assert_eq!(family_of(intel), Some(Family::IntelMpi));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn mapped_files_are_listed_once_and_deleted_ones_by_their_name() {
        let files = mapped_files(
            "7f0-7f1 r--p 00000000 08:01 12 /usr/lib/libmpi.so.40\n\
             7f1-7f2 r-xp 00001000 08:01 12 /usr/lib/libmpi.so.40\n\
             7f2-7f3 rw-p 00000000 00:00 0 [heap]\n\
             7f3-7f4 rw-p 00000000 08:01 13 /a b/libx.so (deleted)\n",
        );
        assert_eq!(files, [Path::new("/usr/lib/libmpi.so.40"), Path::new("/a b/libx.so")]);
    }

    #[test]
    fn prefixes_go_from_the_inside_out() {
        let mpi = Mpi::for_test(Family::OpenMpi, "/usr/lib/x86_64/openmpi/lib/libmpi.so.40");
        let prefixes = mpi.prefixes();
        assert_eq!(prefixes[0], Path::new("/usr/lib/x86_64/openmpi"));
        assert_eq!(prefixes.last().unwrap(), Path::new("/"));
        assert!(prefixes.iter().any(|prefix| prefix == Path::new("/usr")));
    }

    #[test]
    fn this_test_is_not_linked_to_mpi_and_the_error_says_so() {
        let error = Mpi::of_current_process().unwrap_err();
        assert!(error.is_no_mpi());
        let error = Mpi::of_executable(std::env::current_exe().unwrap()).unwrap_err();
        assert!(error.to_string().contains("not linked to an MPI library"), "{error}");
    }
}
