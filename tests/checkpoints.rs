//! Checkpoints: what was saved comes back, and what is damaged or unfinished is not used.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use phalanx::checkpoint::{Folder, Part};
use phalanx::prelude::*;
use serde::{Deserialize, Serialize};

/// A folder of its own, which goes when the test is over.
struct Place {
    path: PathBuf,
    is_mine: bool,
}

impl Place {
    fn new(world: &Comm, name: &str) -> phalanx::Result<Place> {
        let path = || {
            let name = format!("phalanx-{name}-{}", std::process::id());
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
        };
        let path = world.bcast_object((world.rank() == 0).then(path), 0)?;
        Ok(Place { path, is_mine: world.rank() == 0 })
    }

    /// All but hidden files.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("a folder");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().to_str().expect("UTF-8").to_owned()
        };
        let mut names: Vec<String> = entries.map(name).filter(|it| !it.starts_with('.')).collect();
        names.sort();
        names
    }

    fn file(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step:012}.phxckpt"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_mine {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    method: String,
    rate: f64,
}

fn settings() -> Settings {
    Settings { method: "explicit".to_owned(), rate: 0.2 }
}

/// As long as a rank's share, which differs.
fn cells(rank: usize, step: u64) -> Vec<f64> {
    (0..1000 + 777 * rank).map(|cell| (cell as f64).sin() + step as f64).collect()
}

fn save(folder: &Folder, world: &Comm, step: u64) -> phalanx::Result<()> {
    let cells = cells(world.rank(), step);
    let mut part = Part::new();
    part.slice("cells", &cells).object("settings", &settings())?;
    folder.save(step, part.slice::<u8>("nothing", &[]))
}

/// Only rank 0 changes a file; all wait until it has.
fn damage(world: &Comm, change: impl FnOnce()) -> phalanx::Result<()> {
    if world.rank() == 0 {
        change();
    }
    world.barrier()
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], offset).expect("a byte");
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn what_was_saved_comes_back(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "comes-back")?;
    let folder = Folder::open(&world, place.path.join("made/when/needed"))?;
    assert!(folder.latest()?.is_none());
    save(&folder, &world, 7)?;
    save(&folder, &world, 12)?;
    let path = folder.path().to_owned();
    drop(folder);
    let saved = Folder::open(&world, path)?.latest()?.expect("a checkpoint");
    assert_eq!((saved.step(), saved.parts(), saved.refused()), (12, world.size(), &[][..]));
    let mine = saved.mine()?;
    assert_eq!(mine.names().collect::<Vec<_>>(), ["cells", "settings", "nothing"]);
    assert_eq!(mine.slice::<f64>("cells")?, cells(world.rank(), 12));
    assert_eq!(mine.object::<Settings>("settings")?, settings());
    assert_eq!(mine.slice::<u8>("nothing")?, []);
    let mut buffer = vec![0.0; 1000 + 777 * world.rank()];
    mine.read_into("cells", &mut buffer)?;
    assert_eq!(buffer, cells(world.rank(), 12));
    world.barrier()
}

#[phalanx::test(ranks = [4])]
fn other_numbers_of_ranks_read_each_part(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "other-numbers")?;
    save(&Folder::open(&world, &place.path)?, &world, 3)?;
    // Three of the ranks, and each alone.
    let three = world.split(if world.rank() < 3 { Some(0) } else { None }, 0)?;
    let alone = phalanx::self_().expect("MPI is running");
    for comm in three.iter().chain([&alone]) {
        let saved = match Folder::open_to_read(comm, &place.path)?.latest()? {
            Some(saved) => saved,
            None => panic!("no checkpoint for {} ranks", comm.size()),
        };
        let error = saved.mine().map(drop).unwrap_err();
        assert!(error.is_invalid_length(), "{error}");
        assert!(error.detail().contains("saved by 4 ranks, these are"), "{error}");
        for rank in 0..saved.parts() {
            assert_eq!(saved.part(rank)?.slice::<f64>("cells")?, cells(rank, 3));
        }
        assert!(saved.part(4).map(drop).unwrap_err().is_invalid_rank());
    }
    if let Some(three) = three {
        three.free()?;
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 3])]
fn what_is_asked_for_wrongly_is_an_error(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "wrongly")?;
    let folder = Folder::open(&world, &place.path)?;
    save(&folder, &world, 1)?;
    let saved = folder.latest()?.expect("a checkpoint");
    let mine = saved.mine()?;
    let error = mine.slice::<f32>("cells").unwrap_err();
    assert!(error.is_type_mismatch(), "{error}");
    assert!(error.detail().contains("is a slice of f64, and f32 was asked for"), "{error}");
    let error = mine.slice::<f64>("cell").unwrap_err();
    assert!(error.is_file(), "{error}");
    assert!(error.detail().contains("only: `cells`, `settings`, `nothing`"), "{error}");
    assert!(mine.object::<u64>("settings").unwrap_err().is_type_mismatch());
    assert!(mine.object::<Vec<f64>>("cells").unwrap_err().is_type_mismatch());
    assert!(mine.slice::<u8>("settings").unwrap_err().is_type_mismatch());
    let error = mine.read_into("cells", &mut [0.0_f64; 3]).unwrap_err();
    assert!(error.is_invalid_length(), "{error}");
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn the_latest_ones_are_kept_and_later_ones_of_another_run_are_left_alone(
    world: Comm,
) -> phalanx::Result<()> {
    let place = Place::new(&world, "kept")?;
    let folder = Folder::open(&world, &place.path)?.keep(2);
    for step in [5, 900, 10, 15, 20] {
        save(&folder, &world, step)?;
    }
    let kept = [15, 20, 900].map(|step| format!("step-{step:012}.phxckpt"));
    assert_eq!(place.names(), kept);
    // The same step again takes the place of the first.
    folder.save(900, Part::new().slice("cells", &[1_u8]))?;
    let saved = folder.latest()?.expect("a checkpoint");
    assert_eq!(saved.mine()?.slice::<u8>("cells")?, [1]);
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 4])]
fn a_damaged_one_is_refused_and_the_one_before_is_used(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "damaged")?;
    let folder = Folder::open(&world, &place.path)?.keep(9);
    save(&folder, &world, 1)?;
    save(&folder, &world, 2)?;
    let (file, whole) = (place.file(2), fs::read(place.file(2)).expect("a file"));
    let length = whole.len() as u64;
    let last = world.size() - 1;
    let start = ALIGNMENT * (0..last).fold(1, |page, rank| page + pages(rank));
    let damages: [(&str, &dyn Fn()); 12] = [
        ("its head is damaged", &|| flip(&file, 17)),
        ("it is no checkpoint", &|| flip(&file, 0)),
        ("`cells` is damaged", &|| flip(&file, start + 4000)),
        ("`settings` is damaged", &|| flip(&file, ALIGNMENT + 8000 + 3)),
        ("its table is damaged", &|| flip(&file, length - 5)),
        ("bytes, not", &|| fs::write(&file, &whole[..whole.len() - 1]).expect("a file")),
        ("it ends after 9 bytes", &|| fs::write(&file, &whole[..9]).expect("a file")),
        ("it was never completed", &|| fs::write(&file, vec![0; whole.len()]).expect("a file")),
        ("cannot be opened", &|| {
            fs::remove_file(&file).expect("a file");
            symlink("nowhere", &file).expect("a link");
        }),
        // A pipe would never answer.
        ("no regular file", &|| {
            fs::remove_file(&file).expect("a file");
            let made = std::process::Command::new("mkfifo").arg(&file).status();
            assert!(made.expect("mkfifo runs").success());
        }),
        // It takes no room on the disk, and is longer than memory.
        ("none is so long", &|| {
            let table = 4 << 40;
            let mut head = whole[..64].to_vec();
            head[32..40].copy_from_slice(&u64::to_le_bytes(table));
            let sealed = xxhash_rust::xxh3::xxh3_64(&head[..56]);
            head[56..].copy_from_slice(&sealed.to_le_bytes());
            fs::write(&file, head).expect("a file");
            let offset = u64::from_le_bytes(whole[24..32].try_into().expect("8 bytes"));
            let it = OpenOptions::new().write(true).open(&file).expect("a file");
            it.set_len(offset + table).expect("a sparse file");
        }),
        ("no regular file", &|| {
            fs::remove_file(&file).expect("a file");
            fs::create_dir(&file).expect("a folder");
        }),
    ];
    for (reason, change) in damages {
        damage(&world, change)?;
        let saved = folder.latest()?.expect("the one before");
        assert_eq!((saved.step(), saved.refused().len()), (1, 1), "{reason}");
        let refused = &saved.refused()[0];
        assert_eq!(refused.path, file);
        assert!(refused.reason.contains(reason), "{reason}: {}", refused.reason);
        assert!(refused.reason.starts_with("rank "), "{}", refused.reason);
        assert_eq!(saved.mine()?.slice::<f64>("cells")?, cells(world.rank(), 1));
        damage(&world, || {
            let _ = fs::remove_dir(&file);
            let _ = fs::remove_file(&file);
            fs::write(&file, &whole).expect("a file");
        })?;
        assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(2));
    }
    // To begin anew although there was something is for people to decide.
    damage(&world, || [1, 2].iter().for_each(|&step| flip(&place.file(step), 40)))?;
    let error = folder.latest().map(drop).unwrap_err();
    assert!(error.is_damaged(), "{error}");
    assert_eq!(error.detail().matches("its head is damaged").count(), 2, "{error}");
    world.barrier()
}

const ALIGNMENT: u64 = 64 << 10;

/// How many times the alignment the part of a rank takes.
fn pages(rank: usize) -> u64 {
    bytes(rank).div_ceil(ALIGNMENT)
}

/// Bytes of the part of a rank.
fn bytes(rank: usize) -> u64 {
    let mut object = Part::new();
    object.object("settings", &settings()).expect("it can be encoded");
    // A string, its length and a number, behind a header of 32 bytes.
    (8 * cells(rank, 0).len() + 32 + 8 + "explicit".len() + 8) as u64
}

#[phalanx::test(ranks = [1, 2, 3])]
fn what_was_never_finished_is_not_looked_at_and_goes(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "unfinished")?;
    let folder = Folder::open(&world, &place.path)?;
    save(&folder, &world, 1)?;
    const LEFT: [&str; 2] = [
        ".phalanx-step-000000000002-4711-18c3f5a2b1d0e9f7-node1.unfinished",
        ".phalanx-shared-4711-18c3f5a2b1d0e9f7-node1.unfinished",
    ];
    damage(&world, || {
        LEFT.iter().for_each(|it| fs::write(place.path.join(it), [1; 5000]).expect("a file"));
        fs::write(place.path.join("notes.txt"), "mine").expect("a file");
    })?;
    assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(1));
    drop(folder);
    let folder = Folder::open(&world, &place.path)?;
    assert_eq!(place.names(), ["notes.txt", "step-000000000001.phxckpt"]);
    assert!(LEFT.iter().all(|it| !place.path.join(it).exists()));
    assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(1));
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn files_of_others_stay_as_they_are(world: Comm) -> phalanx::Result<()> {
    const FOREIGN: [&str; 9] = [
        ".lock",
        ".shared-notes",
        ".shared-settings.json",
        "step-x.phxckpt.mine.unfinished",
        "step-000000000002.phxckpt.unfinished",
        ".phalanx-notes",
        ".phalanx-shared-notes",
        ".phalanx-step-2-mine.unfinished",
        ".phalanx-step-000000000002-4711-18c3f5a2b1d0e9f7-node1.unfinished.txt",
    ];
    // A link with a name of ours leads to a file of others, and is none of ours.
    const LINK: &str = ".phalanx-shared-4711-18c3f5a2b1d0e9f7-node1.unfinished";
    let place = Place::new(&world, "foreign")?;
    let unchanged = || {
        let read = |name: &str| fs::read_to_string(place.path.join(name)).unwrap_or_default();
        FOREIGN.iter().chain([&LINK]).for_each(|it| assert_eq!(read(it), "precious\n", "{it}"));
    };
    damage(&world, || {
        fs::create_dir(&place.path).expect("a folder");
        for name in FOREIGN {
            fs::write(place.path.join(name), "precious\n").expect("a file");
        }
        symlink(place.path.join(FOREIGN[0]), place.path.join(LINK)).expect("a link");
    })?;
    let folder = Folder::open(&world, &place.path)?;
    save(&folder, &world, 1)?;
    drop(folder);
    save(&Folder::open(&world, &place.path)?, &world, 2)?;
    unchanged();
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_lock_file_of_others_is_an_error_and_stays(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "foreign-lock")?;
    let lock = place.path.join(".phalanx-lock");
    let others: [&[u8]; 4] =
        [b"precious\n", b"phalanx: notes\n", b"phalanx: process 1 on a\nprecious\n", b"\xff\xfe"];
    for text in others {
        damage(&world, || {
            fs::create_dir_all(&place.path).expect("a folder");
            fs::write(&lock, text).expect("a file");
        })?;
        let error = Folder::open(&world, &place.path).map(drop).unwrap_err();
        assert!(error.is_file(), "{error}");
        assert!(error.detail().contains("was not made by Phalanx"), "{error}");
        assert_eq!(fs::read(&lock).expect("a file"), text);
        world.barrier()?;
    }
    // One of a job that has ended, and one whose job ended before it could write its name.
    for text in ["phalanx: process 4000000000 on a host with a long name\n", ""] {
        damage(&world, || fs::write(&lock, text).expect("a file"))?;
        drop(Folder::open(&world, &place.path)?);
        let now = fs::read_to_string(&lock).expect("a file");
        assert!(now.starts_with("phalanx: process ") && now.lines().count() == 1, "{now}");
        assert!(!now.contains("4000000000"), "{now}");
        world.barrier()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn names_that_are_almost_right_are_somebody_elses(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "strangers")?;
    let folder = Folder::open(&world, &place.path)?.keep(1);
    let strangers = ["step-+00000000005.phxckpt", "step-3.phxckpt", "step-x.phxckpt"];
    damage(&world, || {
        strangers.iter().for_each(|name| fs::write(place.path.join(name), "").expect("a file"));
        // One that is in the way of nobody, although it cannot be removed as a file.
        fs::create_dir(place.path.join("step-000000000004.phxckpt.unfinished")).expect("a folder");
        fs::create_dir(place.file(1)).expect("a folder");
    })?;
    save(&folder, &world, 11)?;
    // It is saved all the same.
    let told = folder.removal_error().expect("a folder is no file");
    assert!(told.contains("cannot remove") && told.contains("step-000000000001"), "{told}");
    damage(&world, || fs::remove_dir(place.file(1)).expect("a folder"))?;
    save(&folder, &world, 12)?;
    assert_eq!(folder.removal_error(), None);
    assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(12));
    drop(folder);
    Folder::open(&world, &place.path)?;
    let names = place.names();
    assert!(strangers.iter().all(|name| names.iter().any(|it| it == name)), "{names:?}");
    assert!(!names.contains(&"step-000000000011.phxckpt".to_owned()), "{names:?}");
    world.barrier()
}

#[phalanx::test(ranks = [1, 3])]
fn one_that_was_refused_takes_no_place_of_a_whole_one(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "places")?;
    let folder = Folder::open(&world, &place.path)?;
    save(&folder, &world, 1)?;
    save(&folder, &world, 2)?;
    damage(&world, || flip(&place.file(2), 20))?;
    assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(1));
    save(&folder, &world, 3)?;
    // Two whole ones.
    damage(&world, || flip(&place.file(3), 20))?;
    assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(1));
    // The same step again is whole again.
    save(&folder, &world, 2)?;
    save(&folder, &world, 4)?;
    assert_eq!(place.names(), [2, 3, 4].map(|step| format!("step-{step:012}.phxckpt")));
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn one_that_may_be_whole_is_not_passed_over(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "passed-over")?;
    let folder = Folder::open(&world, &place.path)?;
    save(&folder, &world, 1)?;
    save(&folder, &world, 2)?;
    let whole = fs::read(place.file(2)).expect("a file");
    let changes: [(&str, usize, &[u8]); 2] = [
        ("it has version 9 of the format, this program reads 2", 8, &[9]),
        (
            "another order of bytes",
            0,
            if cfg!(target_endian = "big") { b"PHXCKPT" } else { b"PHXCKPB" },
        ),
    ];
    world.barrier()?;
    for (reason, at, bytes) in changes {
        damage(&world, || {
            let mut head = whole[..64].to_vec();
            head[at..at + bytes.len()].copy_from_slice(bytes);
            let sealed = xxhash_rust::xxh3::xxh3_64(&head[..56]);
            head[56..].copy_from_slice(&sealed.to_le_bytes());
            let file = OpenOptions::new().write(true).open(place.file(2)).expect("a file");
            file.write_all_at(&head, 0).expect("a head");
        })?;
        let error = folder.latest().map(drop).unwrap_err();
        assert!(error.is_file(), "{error}");
        assert!(error.detail().contains(reason), "{error}");
        assert!(error.detail().contains("step-000000000002"), "{error}");
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 4])]
fn one_job_at_a_time_saves_and_any_may_read(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "two-jobs")?;
    let first = Folder::open(&world, &place.path)?;
    save(&first, &world, 1)?;
    let error = Folder::open(&world, &place.path).map(drop).unwrap_err();
    assert!(error.is_file(), "{error}");
    assert!(error.detail().contains("is in use by process "), "{error}");
    let reader = Folder::open_to_read(&world, &place.path)?;
    assert_eq!(reader.latest()?.map(|saved| saved.step()), Some(1));
    let error = save(&reader, &world, 2).unwrap_err();
    assert!(error.detail().contains("was opened to read"), "{error}");
    // What is being written by the first is nothing that others may remove.
    save(&first, &world, 2)?;
    assert_eq!(reader.latest()?.map(|saved| saved.step()), Some(2));
    drop(first);
    save(&Folder::open(&world, &place.path)?, &world, 3)?;
    let nowhere = Folder::open_to_read(&world, place.path.join("nowhere")).map(drop).unwrap_err();
    assert!(nowhere.is_file(), "{nowhere}");
    world.barrier()
}

/// What a reader has in its list may be removed or replaced before it is read.
#[phalanx::test(ranks = [2, 4, 5])]
fn readers_beside_a_job_that_saves_always_find_one(world: Comm) -> phalanx::Result<()> {
    const STEPS: u64 = 40;
    let place = Place::new(&world, "beside")?;
    let saves = world.rank() < world.size() / 2;
    let half = world.split(Some(u32::from(saves)), 0)?.expect("every rank has one");
    let folder = if saves { Some(Folder::open(&half, &place.path)?.keep(1)) } else { None };
    if let Some(folder) = &folder {
        save(folder, &half, 0)?;
    }
    world.barrier()?;
    if let Some(folder) = &folder {
        for step in 1..=STEPS {
            // Every other one is replaced.
            save(folder, &half, step / 2)?;
        }
    } else {
        let reader = Folder::open_to_read(&half, &place.path)?;
        let mut last = 0;
        while last < STEPS / 2 {
            let saved = reader.latest()?.expect("there is always one");
            assert_eq!(saved.refused(), []);
            assert!(saved.step() >= last, "{} after {last}", saved.step());
            last = saved.step();
            for rank in 0..saved.parts() {
                assert_eq!(saved.part(rank)?.slice::<f64>("cells")?, cells(rank, last));
            }
        }
    }
    world.barrier()?;
    drop(folder);
    half.free()
}

#[phalanx::test(ranks = [2, 3])]
fn ranks_at_different_steps_save_nothing(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "steps")?;
    let folder = Folder::open(&world, &place.path)?;
    let error =
        save(&folder, &world, 10 + world.rank() as u64 / (world.size() as u64 - 1)).unwrap_err();
    assert!(error.is_mismatch(), "{error}");
    let last = world.size() - 1;
    assert!(
        error.detail().contains(&format!("rank 0 is at step 10, rank {last} at step 11")),
        "{error}"
    );
    assert_eq!(place.names(), [""; 0]);
    // Nothing is left behind that would disturb the next one.
    save(&folder, &world, 12)?;
    assert_eq!(folder.latest()?.map(|saved| saved.step()), Some(12));
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn two_sections_of_one_name_are_an_error_on_all_ranks(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "names")?;
    let folder = Folder::open(&world, &place.path)?;
    let mut part = Part::new();
    part.slice("a", &[1_u8])
        .slice(if world.rank() + 1 == world.size() { "a" } else { "b" }, &[2_u8]);
    let error = folder.save(1, &part).unwrap_err();
    assert!(error.is_invalid_length(), "{error}");
    assert!(error.detail().contains("two sections that are called `a`"), "{error}");
    world.barrier()
}

#[phalanx::test(ranks = [1, 3])]
fn a_folder_that_cannot_be_is_an_error_on_all_ranks(world: Comm) -> phalanx::Result<()> {
    let place = Place::new(&world, "cannot-be")?;
    damage(&world, || fs::write(&place.path, "a file").expect("a file"))?;
    let error = Folder::open(&world, &place.path).map(drop).unwrap_err();
    assert!(error.is_file(), "{error}");
    assert!(error.detail().starts_with("rank 0 on "), "{error}");
    damage(&world, || fs::remove_file(&place.path).expect("a file"))?;
    // Ranks that look elsewhere, as on hosts that do not share the folder.
    let path = place.path.join(if world.rank() == 0 { "one" } else { "another" });
    match Folder::open(&world, path) {
        Ok(_) => assert_eq!(world.size(), 1),
        Err(error) => {
            assert!(error.is_file(), "{error}");
            assert!(error.detail().contains("the hosts must share it"), "{error}");
        }
    }
    world.barrier()
}

/// A file system of its own that is soon full. It goes when nobody uses it any more.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, bytes: usize) -> Option<Self> {
        fs::create_dir_all(path).ok()?;
        let size = format!("size={bytes}");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(path)
            .output();
        mount.ok()?.status.success().then(|| SmallDisk(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[phalanx::test(ranks = [1, 3])]
fn a_full_disk_is_an_error_on_all_ranks_and_leaves_the_one_before(
    world: Comm,
) -> phalanx::Result<()> {
    let place = Place::new(&world, "full")?;
    // Head, table and lock take a page each.
    let room = 4096 * (0..world.size()).fold(3, |room, rank| room + bytes(rank).div_ceil(4096));
    let disk = (world.rank() == 0)
        .then(|| SmallDisk::mount(&place.path, (room + room / 2) as usize))
        .flatten();
    if !world.bcast_object((world.rank() == 0).then_some(disk.is_some()), 0)? {
        eprintln!("skipped: this needs the right to mount a small file system");
        return Ok(());
    }
    let folder = Folder::open(&world, &place.path)?;
    save(&folder, &world, 1)?;
    let error = save(&folder, &world, 2).unwrap_err();
    assert!(error.is_file(), "{error}");
    assert!(error.detail().contains("No space left on device"), "{error}");
    assert!(error.detail().contains("cannot write to"), "{error}");
    // What was written of it is gone, so that there is room again for others.
    assert_eq!(place.names(), ["step-000000000001.phxckpt"]);
    let saved = folder.latest()?.expect("the one before");
    assert_eq!(saved.mine()?.slice::<f64>("cells")?, cells(world.rank(), 1));
    drop(saved);
    world.barrier()?;
    drop(disk);
    world.barrier()
}
