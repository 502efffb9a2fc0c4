//! What may lie between a host and those who fetch from it, under the control of a test.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// How answers pass, on connections that are opened afterwards; those that are open already are not touched, or the hosts
/// that look after each other would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As they are.
    Pass,
    /// Up to this many bytes on each connection; then they wait for another mode.
    Stall(u64),
    /// With this byte of each connection flipped.
    Flip(u64),
}

/// A proxy of TCP in front of one server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    /// The mode, and how often it was set.
    mode: Mutex<(Mode, u64)>,
    changed: Condvar,
    /// Bytes of answers that passed, and flips.
    passed: AtomicU64,
    flips: AtomicU64,
    /// Connections that wait.
    stalled: AtomicU64,
}

impl Proxy {
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            mode: Mutex::new((Mode::Pass, 0)),
            changed: Condvar::new(),
            passed: AtomicU64::new(0),
            flips: AtomicU64::new(0),
            stalled: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn set(&self, mode: Mode) {
        let mut set = self.shared.mode.lock().unwrap();
        *set = (mode, set.1 + 1);
        self.shared.changed.notify_all();
    }

    /// What happened so far, for a test that fails.
    pub(crate) fn story(&self) -> String {
        format!("{} bytes, {} flips, {} stalled", self.passed(), self.flips(), self.stalled())
    }

    /// Connections that wait for another mode.
    pub(crate) fn stalled(&self) -> u64 {
        self.shared.stalled.load(SeqCst)
    }

    pub(crate) fn flips(&self) -> u64 {
        self.shared.flips.load(SeqCst)
    }

    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(SeqCst)
    }
}

impl Shared {
    /// Carries one connection; whatever breaks ends it, as on any network.
    fn serve(&self, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        let (Ok(mut requests), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
        thread::spawn(move || {
            let _ended = std::io::copy(&mut requests, &mut to_server);
            let _ended = to_server.shutdown(Shutdown::Write);
        });
        let _ended = self.answers(server, client);
        let _ended = client.shutdown(Shutdown::Both);
    }

    fn answers(&self, mut server: TcpStream, mut client: &TcpStream) -> std::io::Result<()> {
        let (mut buffer, mut done) = (vec![0; 16 << 10], 0_u64);
        let opened = self.mode.lock().unwrap().1;
        loop {
            let n = server.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            if let Mode::Flip(at) = self.pass(done, opened) {
                let inside =
                    at.checked_sub(done).and_then(|at| buffer[..n].get_mut(usize::try_from(at).unwrap()));
                if let Some(byte) = inside {
                    *byte ^= 1;
                    self.flips.fetch_add(1, SeqCst);
                }
            }
            client.write_all(&buffer[..n])?;
            done += n as u64;
            self.passed.fetch_add(n as u64, SeqCst);
        }
    }

    /// Waits for as long as a connection of which so much has passed may not go on.
    fn pass(&self, done: u64, opened: u64) -> Mode {
        let waits =
            |(mode, set): &(Mode, u64)| matches!(mode, Mode::Stall(most) if done >= *most && opened >= *set);
        let mut mode = self.mode.lock().unwrap();
        if waits(&mode) {
            self.stalled.fetch_add(1, SeqCst);
            while waits(&mode) {
                mode = self.changed.wait_timeout(mode, Duration::from_secs(1)).unwrap().0;
            }
            self.stalled.fetch_sub(1, SeqCst);
        }
        if opened >= mode.1 { mode.0 } else { Mode::Pass }
    }
}
