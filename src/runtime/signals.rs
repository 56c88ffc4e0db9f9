//! The operating system's wish that the process ends.

use super::Error;

/// Calls `ask` at the first SIGTERM or SIGINT, and ends the process at once at the second: whoever asks twice does not want to wait, and a
/// kill loses nothing.
///
/// **Errors:** no thread or no handler can be had.
pub fn on_stop(ask: impl Fn() + Send + 'static) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::System)?;
    let (mut term, mut int) = {
        let _inside = runtime.enter();
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::terminate()).map_err(Error::System)?, signal(SignalKind::interrupt()).map_err(Error::System)?)
    };
    let run = move || {
        runtime.block_on(async {
            let mut next = async || {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            };
            next().await;
            tracing::info!("asked to stop: what is decided is committed first, a second signal ends at once");
            ask();
            next().await;
            tracing::warn!("ended at once");
            std::process::exit(130);
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(run).map(drop).map_err(Error::System)
}
