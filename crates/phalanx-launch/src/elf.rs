//! Asks the loader which libraries a program would get, without running the program.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef};

use crate::{Error, Result};

/// Path of each shared library that the loader would map for `program`, in its order.
///
/// The loader itself is asked (`ld.so --list`), because only it knows what RPATH, RUNPATH,
/// LD_LIBRARY_PATH, LD_PRELOAD and its cache make of a name. It is run by its own path and not
/// through the program with LD_TRACE_LOADED_OBJECTS: a static program would then simply run.
pub(crate) fn loaded_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(loader) = interpreter(program)? else {
        return Err(Error::no_mpi(program, "it is linked statically"));
    };
    let output =
        Command::new(&loader).arg("--list").arg(program).stdin(Stdio::null()).output().map_err(
            |error| Error::io(format!("cannot run the loader {}", loader.display()), error),
        )?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::no_mpi(program, format!("the loader cannot load it: {why}")));
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    let (found, missing) = parse_listing(&listing);
    if let Some(name) = missing.iter().find(|name| name.starts_with("libmpi")) {
        let why = format!(
            "it needs {name}, which the loader does not find (add its folder to LD_LIBRARY_PATH)"
        );
        return Err(Error::no_mpi(program, why));
    }
    Ok(found)
}

/// The loader named by the program, `None` for a static one.
fn interpreter(program: &Path) -> Result<Option<PathBuf>> {
    let file = File::open(program)
        .map_err(|error| Error::io(format!("cannot open {}", program.display()), error))?;
    let data = ReadCache::new(file);
    let interpreter = match FileKind::parse(&data) {
        Ok(FileKind::Elf64) => interpreter_in::<FileHeader64<Endianness>, _>(&data),
        Ok(FileKind::Elf32) => interpreter_in::<FileHeader32<Endianness>, _>(&data),
        _ => {
            let is_script = data.read_bytes_at(0, 2) == Ok(b"#!");
            let found = if is_script {
                "it is a script; name the program that it starts"
            } else {
                "it is not an ELF file"
            };
            return Err(Error::not_an_executable(program, found));
        }
    };
    interpreter.map_err(|error| Error::not_an_executable(program, error.to_string()))
}

fn interpreter_in<'data, Header, Data>(data: Data) -> object::Result<Option<PathBuf>>
where
    Header: FileHeader<Endian = Endianness>,
    Data: ReadRef<'data>,
{
    let header = Header::parse(data)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            return Ok(Some(PathBuf::from(String::from_utf8_lossy(path).into_owned())));
        }
    }
    Ok(None)
}

/// Reads lines such as `libmpi.so.40 => /usr/lib/libmpi.so.40 (0x00007f)`.
fn parse_listing(listing: &str) -> (Vec<PathBuf>, Vec<String>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for line in listing.lines().map(str::trim) {
        let (name, target) = match line.split_once(" => ") {
            Some((name, target)) => (name, target),
            None => (line, line),
        };
        if target.starts_with("not found") {
            missing.push(name.to_owned());
            continue;
        }
        let path = target.rsplit_once(" (0x").map_or(target, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    (found, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_of_the_loader_is_understood() {
        let (found, missing) = parse_listing(
            "\tlinux-vdso.so.1 (0x00007f66d4989000)\n\
             \tlibmpi.so.40 => /lib/x86_64-linux-gnu/libmpi.so.40 (0x00007f66d4833000)\n\
             \tlibmpich.so.12 => not found\n\
             \tlibodd.so => /opt/a (b)/libodd.so (0x00007f66d4651000)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f66d498b000)\n",
        );
        let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(
            found,
            [
                "/lib/x86_64-linux-gnu/libmpi.so.40",
                "/opt/a (b)/libodd.so",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert_eq!(missing, ["libmpich.so.12"]);
    }

    #[test]
    fn libraries_of_this_test_are_listed() {
        let libraries = loaded_libraries(&std::env::current_exe().unwrap()).unwrap();
        assert!(libraries.iter().any(|path| path.to_string_lossy().contains("libc.so")));
    }

    #[test]
    fn a_script_and_a_text_file_are_refused_with_the_reason() {
        let folder = std::env::temp_dir().join(format!("phalanx-elf-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let script = folder.join("run.sh");
        std::fs::write(&script, "#!/bin/sh\nexit 3\n").unwrap();
        let error = loaded_libraries(&script).unwrap_err();
        assert!(error.to_string().contains("it is a script"), "{error}");
        let text = folder.join("text");
        std::fs::write(&text, "x").unwrap();
        let error = loaded_libraries(&text).unwrap_err();
        assert!(error.to_string().contains("not an ELF file"), "{error}");
        assert!(error.is_no_mpi());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
