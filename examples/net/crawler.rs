//! A web crawler with the blocking `ureq` client, a goroutine a page, and the site that it crawls.
//!
//! Main alone knows which pages have been seen. A goroutine fetches one page, sends main its links, and
//! ends; so nothing needs a lock.

use goroutines::go;
use goroutines_net_examples::http::{Exchange, Request, respond};
use goroutines_net_examples::{Args, Long, accept_each, listen, open_files, os_threads, report};
use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use ureq::Agent;

const HELP: &str = "crawler: fetches all pages of a site that it serves itself, many at once
usage: crawler [--pages N] [--at-once N] [--delay MILLISECONDS]
  --pages N             pages of the site (default 2000)
  --at-once N           requests under way at a time (default 1000; fewer if few files may be open)
  --delay MILLISECONDS  how long the server thinks about a page (default 10)
A goroutine a page on the client's side, and one a connection on the server's.";

#[goroutines::main]
fn main() -> ExitCode {
    let (mut pages, mut at_once, mut delay) = (2000, 1000, 10);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("pages") => pages = args.number(1),
            Long("at-once") => at_once = args.number(1),
            Long("delay") => delay = args.number(0) as u64,
            _ => args.unknown(),
        }
    }
    let delay = Duration::from_millis(delay);
    // Both ends of a connection are ours.
    let at_once = at_once.min(open_files().saturating_sub(50) / 2).max(1);
    report("crawler", run(pages, at_once, delay))
}

fn run(pages: usize, at_once: usize, delay: Duration) -> io::Result<()> {
    let listener = listen("127.0.0.1:0")?;
    let site = format!("http://{}", listener.local_addr()?);
    go(move || accept_each(&listener, move |stream| drop(serve(stream, pages, delay))));

    let start = Instant::now();
    let (found, failed, most) = crawl(&site, at_once);
    let (time, threads) = (start.elapsed().as_millis(), os_threads());
    println!("{found} pages in {time} ms, at most {most} at once, {threads} OS threads");
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} pages failed"))) }
}

/// How many pages were found, how many of them could not be fetched, and how many were under way at a
/// time.
fn crawl(site: &str, at_once: usize) -> (usize, usize, usize) {
    let agent = Agent::config_builder()
        .max_idle_connections(at_once)
        .max_idle_connections_per_host(at_once)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .new_agent();
    let first = format!("{site}/0");
    let (mut seen, mut waiting) = (HashSet::from([first.clone()]), VecDeque::from([first]));
    let (mut running, mut most, mut failed) = (0, 0, 0);
    let (send, receive) = channel();
    loop {
        while running < at_once
            && let Some(page) = waiting.pop_front()
        {
            let (agent, site, send) = (agent.clone(), site.to_owned(), send.clone());
            go(move || {
                let links = fetch(&agent, &page).map(|text| links(&site, &text));
                let _ = send.send(links.map_err(|e| format!("{page}: {e}")));
            });
            running += 1;
        }
        most = most.max(running);
        if running == 0 {
            return (seen.len(), failed, most);
        }
        match receive.recv() {
            Ok(Ok(links)) => {
                waiting.extend(links.into_iter().filter(|link| seen.insert(link.clone())));
            }
            Ok(Err(e)) => {
                eprintln!("crawler: {e}");
                failed += 1;
            }
            Err(_) => unreachable!("this end holds a sender too"),
        }
        running -= 1;
    }
}

fn fetch(agent: &Agent, page: &str) -> Result<String, ureq::Error> {
    agent.get(page).call()?.body_mut().read_to_string()
}

fn links(site: &str, text: &str) -> Vec<String> {
    let after = text.split("href=\"").skip(1);
    after.filter_map(|rest| Some(format!("{site}{}", rest.split_once('"')?.0))).collect()
}

/// A connection of the site's.
fn serve(mut stream: TcpStream, pages: usize, delay: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut http = Exchange::default();
    loop {
        let n = stream.read(http.space())?;
        let goes_on = n > 0
            && http.received(n, |request, out| {
                std::thread::sleep(delay);
                page(request, pages, out);
            });
        stream.write_all(&http.output)?;
        http.output.clear();
        if !goes_on {
            return Ok(());
        }
    }
}

/// Page n links to the eight below it in a tree, to the one above it, and across.
fn page(request: &Request, pages: usize, out: &mut Vec<u8>) {
    let number = request.target.strip_prefix('/').and_then(|number| number.parse::<usize>().ok());
    let Some(number) = number.filter(|number| *number < pages) else {
        return respond(request, "404 Not Found", "text/plain", b"no such page\n", out);
    };
    let below = number * 8 + 1..=number * 8 + 8;
    let mut text = format!("<h1>Page {number}</h1>\n");
    for link in below.chain([number / 8, number * 7 + 3]).filter(|link| *link < pages) {
        let _ = writeln!(text, "<a href=\"/{link}\">page {link}</a>");
    }
    respond(request, "200 OK", "text/html", text.as_bytes(), out);
}
