//! A gateway in this process, for `up` and for the demo.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
};
use veracity_gateway::{Config, Gateway, StartError};
use veracity_receipt::ExecutorId;
use veracity_store::Store;

use crate::{data, error::Failure};

/// A running server. Dropping it stops it at once; [`Node::stop`] lets requests end.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Who signs.
    pub(crate) executor: ExecutorId,
    /// The server itself.
    pub(crate) gateway: Gateway,
    /// What it serves from.
    pub(crate) store: Arc<Store>,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

impl Node {
    /// Starts to serve the models of `store`; port 0 takes a free one.
    ///
    /// # Errors
    /// `port_taken`, `data_in_use` and trouble with the key.
    pub(crate) fn start(store: Store, config: Config, listen: SocketAddr) -> Result<Self, Failure> {
        Self::start_with(&Arc::new(store), config, listen, |gateway| gateway)
    }

    /// As [`Node::start`], with a gateway that `complete` may add to.
    pub(crate) fn start_with(
        store: &Arc<Store>,
        config: Config,
        listen: SocketAddr,
        complete: impl FnOnce(Gateway) -> Gateway,
    ) -> Result<Self, Failure> {
        let key = data::executor_key(store)?;
        let gateway = Gateway::new(Arc::clone(store), key, config).map_err(|e| start_failure(&e))?;
        let gateway = complete(gateway);
        let executor = gateway.executor();
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(|e| listen_failure(listen, &e))?;
        let address = listener.local_addr().map_err(|e| listen_failure(listen, &e))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _asked_or_dropped = stopped.await;
        };
        let serving = gateway.clone();
        let served = runtime.spawn(async move { serving.serve(listener, shutdown).await });
        Ok(Self { address, executor, gateway, store: Arc::clone(store), runtime, stop, served })
    }

    /// The server's URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs a future on the server's threads.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Ctrl-C, or a request to terminate, from now on: whoever is told that this runs may ask it to stop.
    pub(crate) fn interrupt(&self) -> impl Future<Output = ()> + Send + 'static {
        let _entered = self.runtime.enter();
        interrupted()
    }

    /// Waits for an interrupt, or for `ended`; says whether it was that.
    pub(crate) fn wait_unless(
        &self,
        interrupt: impl Future<Output = ()>,
        ended: impl Future<Output = ()>,
    ) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                () = interrupt => false,
                () = ended => true,
            }
        })
    }

    /// Lets requests in progress end and makes receipts durable.
    ///
    /// # Errors
    /// `receipts_lost` if they cannot be made durable.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        // The receiver is gone only if serving has ended already.
        let _ended = self.stop.send(());
        let lost = |e: &dyn std::fmt::Display| {
            Failure::outside("receipts_lost", format!("the last receipts may be lost: {e}"), "check the disk")
        };
        self.runtime.block_on(self.served).map_err(|e| lost(&e))?.map_err(|e| lost(&e))
    }
}

/// Threads for the network.
///
/// # Errors
/// `threads`.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|e| Failure::outside("threads", e, "try again when the machine is less busy"))
}

/// Ctrl-C, or a request to terminate, from now on.
#[derive(Debug)]
pub(crate) struct Interrupt {
    runtime: Runtime,
    came: JoinHandle<()>,
}

impl Interrupt {
    /// Listens from now on: what has to be put in order when the user stops this must begin afterwards.
    ///
    /// # Errors
    /// `threads`.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let runtime = runtime()?;
        let came = {
            let _entered = runtime.enter();
            runtime.spawn(interrupted())
        };
        Ok(Self { runtime, came })
    }

    /// Waits so long for it; whether it has come.
    pub(crate) fn came_within(&mut self, time: Duration) -> bool {
        let came = &mut self.came;
        came.is_finished() || self.runtime.block_on(async { tokio::time::timeout(time, came).await.is_ok() })
    }
}

/// Listens from now on, within a runtime; resolves on Ctrl-C or a request to terminate.
#[cfg(unix)]
pub(crate) fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
            return drop(tokio::signal::ctrl_c().await);
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Listens from now on, within a runtime; resolves on Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    async { drop(tokio::signal::ctrl_c().await) }
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Receipts(error) => data::receipts_failure(error),
        _ => Failure::input("bad_config", error, "change the options"),
    }
}

fn listen_failure(address: SocketAddr, error: &io::Error) -> Failure {
    let message = format!("cannot listen on {address}: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::outside(
            "port_taken",
            message,
            "stop the other program or choose another port with --listen",
        ),
        io::ErrorKind::AddrNotAvailable => {
            Failure::input("bad_address", message, "give an address of this machine, such as 127.0.0.1:8080")
        }
        io::ErrorKind::PermissionDenied => {
            Failure::input("port_forbidden", message, "choose a port above 1023")
        }
        _ => Failure::outside("cannot_listen", message, "choose another address with --listen"),
    }
}
