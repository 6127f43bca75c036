//! Work that mostly waits: pages of a slow server, fetched by 1, 3, 6 and 12 workers.
//!
//! ```text
//! cargo run --release -p process-examples --bin fetch
//! ```
//!
//! The server is part of the program, and answers each request after a while.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::Parser;
use phalanx_process::{Process, Queue, Result};
use process_examples::{sleep_ms, verdict};

/// Fetches pages of a slow server with more and more workers.
#[derive(Parser)]
#[command(name = "fetch", version)]
struct Args {
    /// Pages to fetch
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pages: u32,
    /// How long the server takes for a page, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    delay: u64,
}

fn body(path: &str) -> String {
    format!("this is {path}\n").repeat(100)
}

fn answer(mut stream: TcpStream, delay: u64) -> io::Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let path = request.split_whitespace().nth(1).unwrap_or("/");
    sleep_ms(delay);
    let body = body(path);
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Serves pages until the program ends, each request in a thread.
fn serve(delay: u64) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A visitor who leaves early is none of the server's business.
            thread::spawn(move || drop(answer(stream, delay)));
        }
    });
    Ok(address)
}

fn fetch(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}

/// Fetches what the queue says, and counts the pages that were right.
fn work((address, paths): (SocketAddr, Queue<String>)) -> u32 {
    let is_right = |path: String| fetch(address, &path).is_ok_and(|page| page == body(&path));
    paths.iter().map(|path| u32::from(is_right(path))).sum()
}

fn main() -> Result<ExitCode> {
    let Args { pages, delay } = Args::parse();
    let address = serve(delay).expect("a free port");
    let mut right = Vec::new();
    for workers in [1, 3, 6, 12] {
        let start = Instant::now();
        let paths = Queue::new()?;
        for page in 0..pages {
            paths.put(format!("/page/{page}"))?;
        }
        paths.close();
        let workers: Vec<_> = (0..workers)
            .map(|_| Process::spawn(work, (address, paths.clone())))
            .collect::<Result<_>>()?;
        let count = workers.len();
        right.push(workers.into_iter().map(Process::join).sum::<Result<u32>>()?);
        println!("{count:2} workers: {:.2} s", start.elapsed().as_secs_f64());
    }
    Ok(verdict(right == [pages; 4], format!("{pages} pages each time, and not {right:?}")))
}
