//! What can be asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use prost_kbr::header::BadAppId;
use prost_kbr::wire::MAX_PAYLOAD;
use prost_kbr::{AppId, Dispatch, Failure, Header, Key, MAX_PATHS, Peer, Refusal};
use prost_manager::{CallFailure, InstallFailure, PublishFailure, Search};
use prost_package::{Locator, Package};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::ask::{Ask, PublishedStatus, Status};
use super::guard;
use super::token::Token;
use crate::metrics::Metrics;

/// Requests answered at once.
const AT_ONCE: usize = 64;
/// How long a request's answer may take.
const PATIENCE: Duration = Duration::from_secs(35);
/// How long a request's body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Largest body of a request.
const MAX_BODY: usize = 1 << 20;
/// Largest package file: the largest component, and room for its manifest.
const MAX_PACKAGE: usize = Package::MAX_COMPONENT as usize + (1 << 20);

/// What all requests share.
pub(super) struct Shared {
    pub(super) token: Token,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) remote: bool,
}

struct Interface {
    shared: Shared,
    places: Semaphore,
}

type Asked = State<Arc<Interface>>;

pub(super) fn router(shared: Shared) -> Router {
    let interface = Arc::new(Interface { shared, places: Semaphore::new(AT_ONCE) });
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/api/v1/status", get(status))
        .route("/api/v1/ring/lookup", post(lookup))
        .route("/api/v1/ring/neighbours", post(neighbours))
        .route("/api/v1/peerlets", get(peerlets))
        .route("/api/v1/peerlets", post(install).layer(DefaultBodyLimit::max(MAX_PACKAGE)))
        .route("/api/v1/peerlets/{app}", delete(remove))
        .route("/api/v1/content", post(publish).layer(DefaultBodyLimit::max(MAX_PACKAGE)))
        .route("/api/v1/apps/{app}/{method}", post(call))
        .route("/api/v1/messages/{app}", post(send))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here", "see GET /api/v1/status") })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(interface.clone(), admit))
        .with_state(interface)
}

/// What each request must pass, and the bounds on all of them together.
async fn admit(State(interface): Asked, request: Request, next: Next) -> Response {
    let shared = &interface.shared;
    let checked = guard::check(request.method(), request.uri(), request.headers(), &shared.token, shared.remote);
    if let Err(refused) = checked {
        let (error, hint) = refused.message();
        return Problem::new(refused.status(), error, hint).into_response();
    }
    let Ok(_place) = interface.places.try_acquire() else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once", "try again").into_response();
    };
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "no answer in time", "try again").into_response(),
    }
}

/// An error, as JSON: what is wrong, and what to do about it.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    hint: String,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status, error: error.into(), hint: hint.into() }
    }

    fn shutting_down() -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the node is shutting down", "ask another node")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// Asks the driver, and waits for its answer.
async fn ask<T>(interface: &Interface, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    interface.shared.asks.send(make(reply)).await.map_err(|_| Problem::shutting_down())?;
    answer.await.map_err(|_| Problem::shutting_down())
}

async fn metrics(State(interface): Asked) -> Response {
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([kind], Body::from(interface.shared.metrics.render())).into_response()
}

async fn ready(State(interface): Asked) -> Result<&'static str, Problem> {
    let status = ask(&interface, Ask::Status).await?;
    if is_member(&status) {
        return Ok("ready\n");
    }
    let error = format!("the node is not a member of the ring: {}", status.state);
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error, "wait, or look at the log"))
}

fn is_member(status: &Status) -> bool {
    matches!(status.state.as_str(), "member" | "bootstrap")
}

async fn status(State(interface): Asked) -> Result<Json<Status>, Problem> {
    ask(&interface, Ask::Status).await.map(|status| Json(*status))
}

/// A key, or a name whose key is asked for; and over how many paths that share no node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    key: Option<Key>,
    name: Option<String>,
    paths: Option<u8>,
}

async fn lookup(State(interface): Asked, Json(wanted): Json<Wanted>) -> Result<Response, Problem> {
    let key = match (wanted.key, wanted.name) {
        (Some(key), None) => key,
        (None, Some(name)) => Key::hash(name.as_bytes()),
        _ => return Err(wrong("neither one key nor one name", "say what to look up")),
    };
    let search = match wanted.paths {
        None => Search::Owner,
        Some(paths) if (1..=MAX_PATHS).contains(&paths) => Search::Paths(paths),
        Some(paths) => return Err(wrong(format!("{paths} paths"), "ask for 1 to 8")),
    };
    let outcome = ask(&interface, |reply| Ask::Lookup(key, search, reply)).await?;
    Ok(Json(json!({ "key": key, "result": outcome.result, "hops": outcome.hops, "path": outcome.path }))
        .into_response())
}

async fn neighbours(State(interface): Asked, Json(peer): Json<Peer>) -> Result<Response, Problem> {
    let answer = ask(&interface, |reply| Ask::Neighbours(peer, reply)).await?;
    let Some((predecessors, successors)) = answer else {
        let error = format!("node {} does not answer", peer.id);
        return Err(Problem::new(StatusCode::BAD_GATEWAY, error, "it may have left the ring"));
    };
    Ok(Json(json!({ "predecessors": predecessors, "successors": successors })).into_response())
}

async fn peerlets(State(interface): Asked) -> Result<Response, Problem> {
    let status = ask(&interface, Ask::Status).await?;
    Ok(Json(status.peerlets).into_response())
}

async fn install(State(interface): Asked, request: Request) -> Result<Response, Problem> {
    let package = package(request).await?;
    let installed = ask(&interface, |reply| Ask::Install(Box::new(package), reply)).await?;
    let app = installed.map_err(|failure| {
        let (status, hint) = match &failure {
            InstallFailure::Refused { refusal: Refusal::Equivocation, .. } => {
                (StatusCode::CONFLICT, "sign it as another version, or remove what is installed")
            }
            InstallFailure::Refused { .. } => (StatusCode::FORBIDDEN, "see the node's policy"),
            InstallFailure::Older { .. } => {
                (StatusCode::CONFLICT, "sign it with a higher sequence, or pin its version in the node's policy")
            }
            InstallFailure::Busy => (StatusCode::CONFLICT, "try again"),
            InstallFailure::NotDurable => {
                (StatusCode::INSUFFICIENT_STORAGE, "see the node's log, and install it again when the disk has room")
            }
        };
        Problem::new(status, failure.to_string(), hint)
    })?;
    Ok(Json(json!({ "app": app.to_string() })).into_response())
}

async fn package(request: Request) -> Result<Package, Problem> {
    let body = body(request, MAX_PACKAGE).await?;
    Package::decode(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string(), "make one with 'prost peerlet sign'"))
}

async fn publish(State(interface): Asked, request: Request) -> Result<Response, Problem> {
    let package = package(request).await?;
    let locator = Locator::Digest(package.manifest.manifest().component.digest).to_string();
    let answer = ask(&interface, |reply| Ask::Publish(Box::new(package), reply)).await?;
    let published = answer.map_err(|failure| {
        let (status, hint) = match &failure {
            PublishFailure::BadPackage(_) => (StatusCode::BAD_REQUEST, "sign it anew with 'prost peerlet sign'"),
            PublishFailure::Busy => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
            PublishFailure::NotJoined => (StatusCode::SERVICE_UNAVAILABLE, "see 'prost status'"),
            PublishFailure::Full => (
                StatusCode::INSUFFICIENT_STORAGE,
                "raise content_bytes on the nodes of the ring, or wait: code is kept for a day",
            ),
            PublishFailure::Refused(_) => (StatusCode::FORBIDDEN, "see the policies of the ring's nodes"),
            PublishFailure::Unreachable => {
                (StatusCode::GATEWAY_TIMEOUT, "try again: what is there already goes quickly")
            }
        };
        Problem::new(status, failure.to_string(), hint)
    })?;
    let (app, pieces, copies) = (published.app.to_string(), published.pieces, published.copies);
    Ok(Json(PublishedStatus { app, locator, pieces, copies }).into_response())
}

async fn remove(State(interface): Asked, Path(app): Path<String>) -> Result<Response, Problem> {
    let removed = ask(&interface, |reply| Ask::Remove(app, reply)).await?;
    let app = removed.map_err(|failure| call_problem(&failure))?;
    Ok(Json(json!({ "app": app.to_string() })).into_response())
}

async fn call(
    State(interface): Asked,
    Path((app, method)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let body = body(request, MAX_BODY).await?;
    let answer = ask(&interface, |reply| Ask::Call { app, method, body, reply }).await?;
    let bytes: Bytes = answer.map_err(|failure| call_problem(&failure))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

/// Where a message goes, in its query. The application stands in the path, and the data is the body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Addressed {
    key: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    dispatch: Option<u8>,
    #[serde(default)]
    locator: String,
}

impl Addressed {
    fn key(&self) -> Result<Key, Problem> {
        match (&self.key, &self.name) {
            (Some(key), None) => key.parse().map_err(|_| wrong("the key is not one", "write 40 hexadecimal digits")),
            (None, Some(name)) => Ok(Key::hash(name.as_bytes())),
            _ => Err(wrong("neither one key nor one name", "say where the message goes")),
        }
    }

    fn dispatch(&self) -> Result<Dispatch, Problem> {
        match self.dispatch {
            Some(0) => Ok(Dispatch::PerHop),
            None | Some(1) => Ok(Dispatch::EndNode),
            Some(other) => Err(wrong(format!("no type {other}"), "0 is for every node on the way, 1 for the last")),
        }
    }
}

fn wrong(error: impl Into<String>, hint: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error, hint)
}

async fn send(
    State(interface): Asked,
    Path(app): Path<String>,
    addressed: Result<Query<Addressed>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(addressed) = addressed.map_err(|_| wrong("the query is malformed", "see 'prost send --help'"))?;
    let app: AppId = app.parse().map_err(|error: BadAppId| wrong(error.to_string(), "see 'prost peerlet list'"))?;
    let (key, dispatch) = (addressed.key()?, addressed.dispatch()?);
    let locator = Locator::parse(&addressed.locator).map_err(|error| wrong(error.to_string(), "or leave it out"))?;
    let header = Header { app, locator: locator.to_string() };
    let payload = body(request, MAX_PAYLOAD).await?;
    let outcome = ask(&interface, |reply| Ask::Send { header, key, dispatch, payload, reply }).await?;
    Ok(Json(json!({ "key": key, "result": outcome.result, "hops": outcome.hops })).into_response())
}

async fn body(request: Request, most: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_PATIENCE, axum::body::to_bytes(request.into_body(), most)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let error = format!("the body is longer than {most} bytes, or broke off");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send less at once"))
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time", "send it faster")),
    }
}

fn call_problem(failure: &CallFailure) -> Problem {
    let (status, hint) = match failure {
        CallFailure::NotInstalled(_) => (StatusCode::NOT_FOUND, "install it here with 'prost peerlet install'"),
        CallFailure::Ambiguous(_) => (StatusCode::CONFLICT, "see 'prost peerlet list'"),
        CallFailure::Refused(_) => (StatusCode::FORBIDDEN, "see the node's policy"),
        CallFailure::Application(_) => (StatusCode::UNPROCESSABLE_ENTITY, "this is the application's own answer"),
        CallFailure::Failed(Failure::Deadline) => (StatusCode::GATEWAY_TIMEOUT, "try again"),
        CallFailure::Failed(Failure::Overloaded) => (StatusCode::SERVICE_UNAVAILABLE, "try again later"),
        CallFailure::Failed(_) => (StatusCode::BAD_GATEWAY, "see the node's log"),
    };
    Problem::new(status, failure.to_string(), hint)
}
