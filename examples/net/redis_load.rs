//! Load on a Redis server with the blocking `redis` crate, a goroutine and a connection each.

use goroutines::go;
use goroutines_net_examples::{Args, Long, open_files, os_threads, report, usage};
use redis::{Client, Connection, RedisResult, cmd};
use std::io;
use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "redis_load: SETs and GETs on a Redis server, from many goroutines
usage: redis_load (--url URL | --spawn) [--goroutines N] [--commands M]
  --url URL       the server, for instance redis://127.0.0.1:6379
  --spawn         starts redis-server on a free port of 127.0.0.1, and ends it afterwards
  --goroutines N  goroutines, with a connection each (default 50)
  --commands M    commands of each, SET and GET in turn (default 1000)
Each answer is checked. The keys are goroutines:0, goroutines:1 and so on; they are deleted.";

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[goroutines::main]
fn main() -> ExitCode {
    let (mut url, mut spawn, mut goroutines, mut commands) = (None, false, 50, 1000);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("url") => url = Some(args.value("redis://ADDRESS:PORT")),
            Long("spawn") => spawn = true,
            Long("goroutines") => goroutines = args.number(1),
            Long("commands") => commands = args.number(1),
            _ => args.unknown(),
        }
    }
    if url.is_some() == spawn {
        usage("redis_load takes one of --url and --spawn", HELP);
    }
    let _ = open_files();
    report("redis_load", run(url, goroutines, commands))
}

fn run(url: Option<String>, goroutines: usize, commands: usize) -> Outcome<()> {
    // Ends the server when it is dropped.
    let (url, _server) = match url {
        Some(url) => (url, None),
        None => Server::start().map(|server| (server.url(), Some(server)))?,
    };
    let client = Client::open(url.as_str()).map_err(|e| format!("{url}: {e}"))?;
    wait_for(&client).map_err(|e| format!("{url}: {e}"))?;

    let start = Instant::now();
    let running: Vec<_> = (0..goroutines)
        .map(|number| {
            let client = client.clone();
            go(move || load(client.get_connection()?, number, commands))
        })
        .collect();
    for goroutine in running {
        goroutine.join().map_err(|_| "a goroutine panicked")??;
    }
    let (time, threads) = (start.elapsed(), os_threads());
    let total = goroutines * commands;
    let rate = total as f64 / time.as_secs_f64();
    println!(
        "{goroutines} goroutines × {commands} commands: {rate:.0} commands/s; {} ms, {threads} OS threads",
        time.as_millis()
    );
    Ok(())
}

fn load(mut connection: Connection, number: usize, commands: usize) -> Outcome<()> {
    let key = format!("goroutines:{number}");
    for i in 0..commands {
        if i % 2 == 0 {
            cmd("SET").arg(&key).arg(i).exec(&mut connection)?;
        } else {
            let value: usize = cmd("GET").arg(&key).query(&mut connection)?;
            if value != i - 1 {
                return Err(format!("{key} is {value}, not {}", i - 1).into());
            }
        }
    }
    cmd("DEL").arg(&key).exec(&mut connection)?;
    Ok(())
}

/// Waits up to 5 s until the server answers: it may just have been started.
fn wait_for(client: &Client) -> RedisResult<()> {
    let start = Instant::now();
    loop {
        let answer = client.get_connection().and_then(|mut c| cmd("PING").exec(&mut c));
        match answer {
            Err(_) if start.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

/// A redis-server of our own.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--port").arg(port.to_string()).current_dir(std::env::temp_dir());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|e| {
            io::Error::new(e.kind(), format!("can't start redis-server (is it installed?): {e}"))
        })?;
        Ok(Self { child, port })
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
