//! Real servers, as child processes of a test: Redis and PostgreSQL, each in a directory of its own that
//! goes with it. They end with the test, however it ends, and with the process if it is killed.

use goroutines_test_needs as needs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Within this time a server must answer.
const START: Duration = Duration::from_secs(30);

/// A server program that runs, and its directory.
struct Server {
    child: Child,
    dir: Dir,
    /// The signal that ends it at once, and its own children with it.
    signal: i32,
}

impl Server {
    /// Starts it. Must be called on a thread that outlives the server: when the thread ends, the kernel
    /// ends the server.
    fn start(mut command: Command, dir: Dir, signal: i32) -> Self {
        let log = std::fs::File::create(dir.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // SAFETY: the call is async-signal-safe and involves no memory.
        unsafe {
            command.pre_exec(move || {
                match libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, dir, signal }
    }

    /// Waits until `answers`.
    fn await_answer(&mut self, mut answers: impl FnMut() -> bool) {
        let start = Instant::now();
        while !answers() {
            let ended: Option<ExitStatus> = self.child.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > START {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                panic!("a server does not answer ({ended:?}); it said:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: no memory is involved; the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, self.signal) };
        let _ = self.child.wait();
    }
}

/// A Redis server without persistence, at a Unix socket.
pub(crate) struct Redis {
    _server: Server,
    url: String,
}

impl Redis {
    /// Starts one, if it is installed.
    pub(crate) fn start() -> Option<Self> {
        let program = needs::program("redis-server", "redis-server", &[])?;
        let dir = Dir::new("redis");
        let socket = dir.join("socket");
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--appendonly", "no"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(&*dir);
        let mut server = Server::start(command, dir, libc::SIGKILL);
        let redis_url = format!("redis+unix://{}", socket.display());
        let client = redis::Client::open(redis_url.as_str()).unwrap();
        server.await_answer(|| {
            client.get_connection().is_ok_and(|mut c| redis::cmd("PING").exec(&mut c).is_ok())
        });
        Some(Self { _server: server, url: redis_url })
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }
}

/// A PostgreSQL server with an empty cluster, at a Unix socket and at a port of 127.0.0.1.
pub(crate) struct Postgres {
    server: Server,
    port: u16,
}

impl Postgres {
    /// Makes a cluster, and starts its server, if PostgreSQL is installed.
    pub(crate) fn start() -> Option<Self> {
        let debian: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
            .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
            .unwrap_or_default();
        let program = needs::program("postgres", "postgresql", &debian)?;
        let initdb = needs::program("initdb", "postgresql", &debian)?;
        let dir = Dir::new("postgres");
        let user = not_root();
        if let Some((uid, gid)) = user {
            chown(&*dir, Some(uid), Some(gid)).unwrap();
        }
        let data = dir.join("data");
        let mut command = command_as(user, initdb, &dir);
        command.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        command.args(["--locale=C", "--no-sync"]);
        let made = command.output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{command:?} failed: {said}");

        let port = free_port();
        let mut command = command_as(user, program, &dir);
        command.arg("-D").arg(&data).arg("-k").arg(&*dir).args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        // Ended by SIGQUIT, it ends its own children, and leaves no shared memory behind.
        let mut server = Server::start(command, dir, libc::SIGQUIT);
        let config = config(&server.dir, port, false);
        server.await_answer(|| config.connect(postgres::NoTls).is_ok());
        Some(Self { server, port })
    }

    /// A new connection: every second by TCP, the others by the Unix socket.
    pub(crate) fn connect(&self, i: usize) -> postgres::Client {
        config(&self.server.dir, self.port, i.is_multiple_of(2)).connect(postgres::NoTls).unwrap()
    }
}

fn config(dir: &Path, port: u16, by_tcp: bool) -> postgres::Config {
    let mut config = postgres::Config::new();
    config.user("postgres").dbname("postgres").port(port);
    if by_tcp {
        config.host("127.0.0.1")
    } else {
        config.host_path(dir)
    };
    config
}

/// A command that runs in `dir`, as `user` where it says one.
fn command_as(user: Option<(u32, u32)>, program: PathBuf, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("LC_ALL", "C");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Whom to run PostgreSQL as, which refuses to run as root: nobody else, if we are not root.
fn not_root() -> Option<(u32, u32)> {
    // SAFETY: no memory is involved.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let ids = |name: &str| {
        let user = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = user.into_iter().find(|fields| fields[0] == name)?;
        Some((user[2].parse().ok()?, user[3].parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user that is not root"))
}

/// A directory that all can enter. Goes when it is dropped, with all that is in it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new, empty one.
    pub(crate) fn new(what: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let (pid, n) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(format!("goroutines-{what}-{pid}-{n}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        Self(dir)
    }
}

impl std::ops::Deref for Dir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody listens at right now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
