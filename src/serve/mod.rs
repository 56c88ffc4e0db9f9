//! HTTP: liveness, readiness, look-ups, what definitions are in force and what others would change. Reads the view, sends questions to
//! workers.
//!
//! Runs on a thread of its own with a small tokio runtime; nothing here can hold up a worker. A look-up that meets a restoring shard is
//! answered with 503 and `Retry-After`, never with an empty set.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::oneshot;

use crate::ids::ShardId;
use crate::kafka::topics::LARGE_MESSAGE_BYTES;
use crate::lang;
use crate::runtime::view::{Answer, ShardRow, ShardState};
use crate::runtime::{Previewer, View, definitions};

/// Asks the service whether it takes part: `Err` with the reason while it does not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Says which shard a customer belongs to; `None` while the number of shards is not known yet.
pub type ShardOf = Arc<dyn Fn(&str) -> Option<ShardId> + Send + Sync>;

/// HTTP could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Environment: the port is in use, or the address is not this machine's.
    #[error("http.listen {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    /// Environment.
    #[error("http cannot be started: {0}")]
    Start(std::io::Error),
}

/// What requests are answered from.
#[derive(Clone)]
pub struct Service {
    pub view: Arc<View>,
    pub ready: Ready,
    pub shard_of: ShardOf,
    /// `None`: no workers stand behind the view.
    pub previewer: Option<Previewer>,
}

/// A running server; ends with [`Server::stop`] or when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers on a thread of its own.
    ///
    /// **Errors:** the address cannot be listened on; no thread.
    pub fn start(address: SocketAddr, service: Service) -> Result<Server, Error> {
        let listener = TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
        listener.set_nonblocking(true).map_err(Error::Start)?;
        let bound = listener.local_addr().map_err(Error::Start)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async move {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!(%error, "http ended"),
                };
                let served = axum::serve(listener, router(service)).with_graceful_shutdown(async {
                    // A dropped sender means the same.
                    let _ = stopped.await;
                });
                if let Err(error) = served.await {
                    tracing::error!(%error, "http ended");
                }
            });
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(serve).map_err(Error::Start)?;
        Ok(Server { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// The address that is listened on, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finishes the requests in progress, at most those of a moment, and ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // A client that keeps its connection open would hold the end up: the process ends without that thread.
        if let Some(thread) = self.thread.take()
            && thread.is_finished()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn router(service: Service) -> Router {
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness))
        .route("/v1/customers/{customer}/memberships", get(memberships))
        .route("/v1/customers/{customer}/explain", get(explain))
        .route("/v1/definitions", get(in_force))
        .route("/v1/definitions/preview", post(preview).layer(DefaultBodyLimit::max(LARGE_MESSAGE_BYTES)))
        .with_state(service)
}

async fn readiness(State(service): State<Service>) -> Response {
    match (service.ready)() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], format!("{reason}\n")).into_response(),
    }
}

/// What every shard of this instance has in force, how far a change has come, and which segments are not known for everybody yet.
async fn in_force(State(service): State<Service>) -> Response {
    let shards = service.view.shards();
    let row = |(id, row): &(ShardId, ShardRow)| {
        let state = match row.state {
            ShardState::Restoring => "restoring",
            ShardState::Running => "running",
            ShardState::Stopped(_) => "stopped",
        };
        let warming: Vec<_> = row
            .warming
            .iter()
            .map(|(segment, until)| json!({ "segment": segment, "complete_from": until.map(|t| t.to_string()) }))
            .collect();
        json!({
            "shard": id,
            "state": state,
            "set": row.set.map(|set| set.to_string()),
            "scanned": row.scanned.map_or(1.0, |parts| f64::from(parts) / 256.0),
            "warming": warming,
        })
    };
    Json(json!({ "shards": shards.iter().map(row).collect::<Vec<_>>() })).into_response()
}

/// Tries a set of definitions, given as its record in the definitions topic, on a sample of the customers of this instance.
async fn preview(State(service): State<Service>, body: Bytes) -> Response {
    let told = |code: StatusCode, message: String| (code, Json(json!({ "error": message }))).into_response();
    let Some(previewer) = service.previewer else {
        return told(StatusCode::SERVICE_UNAVAILABLE, "no workers run here".into());
    };
    let tried = tokio::task::spawn_blocking(move || {
        let Some(files) = definitions::decode(&body) else {
            return Err((StatusCode::BAD_REQUEST, "the body is no set of definitions".into()));
        };
        let compiled = lang::compile(&files);
        let errors: Vec<String> = compiled.errors().map(ToString::to_string).collect();
        let Some(workspace) = compiled.workspace else { return Err((StatusCode::UNPROCESSABLE_ENTITY, errors.join("\n"))) };
        previewer.preview(workspace).map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
    });
    match tried.await {
        Ok(Ok(preview)) => Json(preview).into_response(),
        Ok(Err((code, message))) => told(code, message),
        Err(_) => told(StatusCode::INTERNAL_SERVER_ERROR, "the trial has ended by a bug".into()),
    }
}

fn restoring() -> Response {
    let body = Json(json!({ "error": "restoring", "message": "the customer's shard is being restored; ask again" }));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
}

fn elsewhere(shard: ShardId) -> Response {
    let body = json!({ "error": "elsewhere", "message": "another instance owns the customer's shard", "shard": shard });
    (StatusCode::MISDIRECTED_REQUEST, Json(body)).into_response()
}

/// Why a customer is or is not in each segment.
async fn explain(State(service): State<Service>, Path(customer): Path<String>) -> Response {
    let Some(shard) = (service.shard_of)(&customer) else { return restoring() };
    match service.view.lookup(&customer, shard) {
        Answer::Restoring => return restoring(),
        Answer::Elsewhere => return elsewhere(shard),
        Answer::Memberships(_) => {}
    }
    let Some(previewer) = service.previewer else {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": "no workers run here" }))).into_response();
    };
    match tokio::task::spawn_blocking(move || previewer.explain(&customer, shard)).await {
        Ok(Ok(explanation)) => Json(explanation).into_response(),
        Ok(Err(_)) => restoring(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "the explanation has ended by a bug" }))).into_response(),
    }
}

async fn memberships(State(service): State<Service>, Path(customer): Path<String>) -> Response {
    let Some(shard) = (service.shard_of)(&customer) else { return restoring() };
    match service.view.lookup(&customer, shard) {
        Answer::Restoring => restoring(),
        Answer::Elsewhere => elsewhere(shard),
        Answer::Memberships(present) => {
            let rows: Vec<_> = present
                .iter()
                .map(|p| match &p.stage {
                    Some(stage) => json!({ "segment": &*p.segment, "stage": &**stage, "since": p.since.to_string() }),
                    None => json!({ "segment": &*p.segment, "since": p.since.to_string() }),
                })
                .collect();
            Json(json!({ "customer": customer, "memberships": rows })).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::time::{Millis, Timestamp};

    fn get_path(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(address).expect("connects");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        let code = answer.split(' ').nth(1).and_then(|c| c.parse().ok()).expect("a status");
        (code, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_string())
    }

    fn workspace() -> crate::lang::Workspace {
        let text = "event order { total money in EUR }\nsegment buyer { when any order ever }";
        crate::lang::compile(&[crate::lang::SourceFile::new("a.seg", text)]).workspace.expect("compiles")
    }

    #[test]
    fn readiness_names_the_reason_and_look_ups_never_lie_by_emptiness() {
        let view = Arc::new(View::new(&workspace()));
        let joined = Arc::new(AtomicBool::new(false));
        let seen = joined.clone();
        let ready: Ready = Arc::new(move || if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("joining the group".into()) });
        let service = Service { view: view.clone(), ready, shard_of: Arc::new(|_| Some(ShardId(2))), previewer: None };
        let server = Server::start(([127, 0, 0, 1], 0).into(), service).expect("listens");
        let at = server.address();
        assert_eq!(get_path(at, "/livez").0, 200);
        assert_eq!(get_path(at, "/readyz"), (503, "joining the group\n".into()));
        joined.store(true, Ordering::Relaxed);
        assert_eq!(get_path(at, "/v1/customers/c-1/memberships").0, 421, "another instance has it");
        assert_eq!(get_path(at, "/v1/customers/c-1/explain").0, 421, "another instance has it");
        let row = |state| ShardRow {
            state,
            set: None,
            scanned: None,
            warming: Box::new([]),
            worker: 0,
            customers: 0,
            armed: 0,
            clock: Timestamp(0),
            clock_delay: Millis::ZERO,
            unproved: Millis::ZERO,
            lag: 0,
            members: Box::new([]),
        };
        view.report(ShardId(2), row(ShardState::Restoring));
        assert_eq!(get_path(at, "/v1/customers/c-1/memberships").0, 503);
        assert_eq!(get_path(at, "/v1/customers/c-1/explain").0, 503);
        view.report(ShardId(2), row(ShardState::Running));
        assert_eq!(get_path(at, "/readyz"), (200, "ready\n".into()));
        let (code, body) = get_path(at, "/v1/customers/anna%20b/memberships");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((code, &body), (200, &json!({ "customer": "anna b", "memberships": [] })));
        let set = crate::ids::SetHash([7; 16]);
        let warming = [("buyer".into(), None), ("other".into(), Some(Timestamp(0)))];
        let changing = ShardRow { set: Some(set), scanned: Some(64), warming: warming.into(), ..row(ShardState::Running) };
        view.report(ShardId(2), changing);
        let (code, body) = get_path(at, "/v1/definitions");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((code, &body["shards"][0]["scanned"], &body["shards"][0]["set"]), (200, &json!(0.25), &json!(set.to_string())));
        assert_eq!(body["shards"][0]["warming"][1]["complete_from"], "1970-01-01T00:00:00.000Z");
        assert!(
            Server::start(at, Service { view, ready: Arc::new(|| Ok(())), shard_of: Arc::new(|_| None), previewer: None }).is_err(),
            "the port is in use"
        );
        server.stop();
    }
}
