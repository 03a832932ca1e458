//! `tidewatch serve`: ids for scripts in any language, by HTTP.

use crate::{
    arguments::{Arguments, Serve},
    failure::Failure,
    ids::Generators,
    output::tell,
};
use anyhow::Context as _;
use std::{sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// A server's node is free so long after it was killed.
const LEASE: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: &Arguments, serve: &Serve) -> Result<u8, Failure> {
    let generators = Arc::new(Generators::new(arguments, &serve.ids, LEASE)?);
    if arguments.dry_run {
        tell(format_args!("would listen on {}", serve.listen));
        return Ok(0);
    }
    let listener = TcpListener::bind(serve.listen)
        .await
        .with_context(|| format!("listening on `{}`", serve.listen))?;
    let address = listener.local_addr().context("asking for the address listened on")?;
    if !address.ip().is_loopback() {
        tell("other machines can reach this server, and whoever reaches it takes ids");
    }
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate()).context("waiting for SIGTERM")?,
        signal(SignalKind::interrupt()).context("waiting for Ctrl-C")?,
    );
    let stop = Box::pin(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    tell(format_args!("serving ids on http://{address}/v1/ids until SIGTERM"));
    web::serve(listener, Arc::clone(&generators) as Arc<dyn web::IdSource>, stop).await;
    let closed = tokio::task::spawn_blocking(move || generators.close()).await;
    if let Ok(Err(error)) = closed {
        tracing::warn!(%error, "the lease could not be given back");
    }
    Ok(0)
}
