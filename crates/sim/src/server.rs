//! The servers of a scenario behind the engine's network port, without any I/O.
//!
//! A request is decided at the instant at which it arrives: refused by the limiter, caught in a
//! trouble, spoiled by chance, or served from the [`World`]. Then it takes its latency. Chance is
//! drawn by the cell and by how often it was asked for, so that one request more for one cell
//! changes nothing for another.

mod answer;
mod book;

pub(crate) use answer::fnv;
pub use answer::{Kind, Reply};
pub use book::{Arrival, ServerBook};

use crate::{
    clock::LifeClock,
    kill::KillSwitch,
    scenario::{Endpoint, Scenario, Server, TroubleKind},
    world::{World, between},
};
use bytes::Bytes;
use env::Entropy;
use fetch::{BodyStream, Reach, Transport, TransportError};
use futures::future::BoxFuture;
use http::{Method, Request, Response, header::IF_NONE_MATCH};
use jiff::Timestamp;
use model::{CellKey, Entity, Period, SourceId};
use source::Source;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The statuses of a server that fails.
const FAILURES: [u16; 3] = [500, 502, 503];

/// All servers of a scenario as one life of the engine reaches them.
#[derive(Debug)]
pub struct SimTransport {
    servers: Arc<Servers>,
    clock: Arc<LifeClock>,
    switch: Arc<KillSwitch>,
}

/// What outlives the engines: the servers, with what they remember.
#[derive(Debug)]
pub struct Servers {
    /// What they serve.
    pub world: World,
    settings: BTreeMap<SourceId, Server>,
    entities: BTreeMap<SourceId, u32>,
    start: Timestamp,
    entropy: Entropy,
    book: Mutex<ServerBook>,
}

impl Servers {
    /// The servers of a scenario.
    pub fn new(scenario: &Scenario, sources: &[Source], seed: u64) -> Self {
        let named =
            |(endpoint, source): (&Endpoint, &Source)| (source.id.clone(), endpoint.server.clone());
        Self {
            world: World::new(scenario, sources, seed),
            settings: scenario.sources.iter().zip(sources).map(named).collect(),
            entities: scenario
                .sources
                .iter()
                .zip(sources)
                .map(|(endpoint, source)| (source.id.clone(), endpoint.entities))
                .collect(),
            start: scenario.start,
            entropy: Entropy::from_seed(seed).child("server"),
            book: Mutex::default(),
        }
    }

    /// What they remember: their own log among it.
    pub fn book(&self) -> MutexGuard<'_, ServerBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, server: &Server, now: Timestamp) -> Option<TroubleKind> {
        let elapsed = now.duration_since(self.start);
        let is_on = |from, until| from <= elapsed && elapsed < until;
        server
            .troubles
            .iter()
            .find(|trouble| is_on(trouble.from.0, trouble.until.0))
            .map(|trouble| trouble.kind)
    }

    /// Decides about a request at the instant of its arrival.
    fn decide(
        &self,
        server: &Server,
        arrival: &Arrival,
        (method, etag): (&Method, Option<&str>),
        chance: &mut Entropy,
    ) -> Kind {
        let (cell, now) = (&arrival.cell, arrival.at);
        if let Some(limiter) = &server.limiter
            && !self.book().admit(arrival, limiter)
        {
            return Kind::Refused;
        }
        let trouble = self.trouble(server, now);
        match trouble {
            Some(TroubleKind::Outage) => return Kind::Failed(FAILURES[chance.below(3) as usize]),
            Some(TroubleKind::Unreachable) => return Kind::Unreachable,
            Some(TroubleKind::BlockPage) => return Kind::BlockPage,
            Some(TroubleKind::RenamedField | TroubleKind::RenamedList) | None => {}
        }
        let mut draw = chance.unit();
        for (share, kind) in [
            (server.unreachable_share, Kind::Unreachable),
            (server.failed_share, Kind::Failed(FAILURES[chance.below(3) as usize])),
            (server.silent_share, Kind::Silent),
            (server.empty_share, Kind::NoBytes),
        ] {
            if draw < share {
                return kind;
            }
            draw -= share;
        }
        let content = self.content(cell, now);
        if method == Method::HEAD {
            let heads = server.heads;
            let lies = if content.is_some() { heads.conceals_share } else { heads.promises_share };
            let is_promised = content.is_some() != (chance.unit() < lies);
            return if heads.refused { Kind::NoHead } else { Kind::Head(is_promised) };
        }
        if cell.entity.as_str() == PAGE {
            return Kind::Page;
        }
        let kind = match (content, trouble) {
            (content, Some(TroubleKind::RenamedField)) => Kind::RenamedField(content),
            (content, Some(TroubleKind::RenamedList)) => Kind::RenamedList(content),
            (content, _) => Kind::Whole(content),
        };
        if draw < server.truncated_share {
            return Kind::Truncated(content, chance.below(3) as u8);
        }
        let is_same = server.etag
            && etag
                .is_some_and(|etag| Some(etag) == Reply::new(self, cell, &kind).etag().as_deref());
        match (is_same, kind) {
            (true, Kind::Whole(_)) => Kind::NotModified(content),
            (true, _) => Kind::StillRenamed(content),
            (false, kind) => kind,
        }
    }

    /// The entities whose data of a page's period is there now.
    fn named(&self, page: &CellKey) -> Vec<String> {
        let now = self.book().log.iter().rev().find(|it| it.cell == *page).map(|it| it.at);
        let now = now.unwrap_or(self.start);
        let entities = self.entities.get(&page.source).copied().unwrap_or(0);
        let names = (0..entities).map(|at| format!("E{at:03}"));
        names
            .filter(|name| {
                Entity::parse(name).is_ok_and(|entity| {
                    self.content(&CellKey { entity, ..page.clone() }, now).is_some()
                })
            })
            .collect()
    }

    /// Which version of a cell is there; `None` if it has not come.
    fn content(&self, cell: &CellKey, now: Timestamp) -> Option<usize> {
        self.world.truth(cell).and_then(|truth| truth.at(now).map(|(index, _)| index))
    }

    fn chance(&self, cell: &CellKey, number: u64) -> Entropy {
        self.entropy
            .child(cell.source.as_str())
            .child(cell.entity.as_str())
            .child(&cell.period.to_string())
            .child(&number.to_string())
    }
}

impl SimTransport {
    /// The servers as one life reaches them.
    pub fn new(servers: Arc<Servers>, clock: Arc<LifeClock>, switch: Arc<KillSwitch>) -> Self {
        Self { servers, clock, switch }
    }

    async fn answer(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<BodyStream>, TransportError> {
        let cell = cell_of(request.uri()).ok_or_else(|| TransportError::Unsendable {
            reason: format!("`{}` is not an address of this world", request.uri()),
        })?;
        let Some(server) = self.servers.settings.get(&cell.source) else {
            return Err(TransportError::Unsendable { reason: "no such host".to_owned() });
        };
        let etag = request.headers().get(IF_NONE_MATCH).and_then(|etag| etag.to_str().ok());
        let (at, elapsed) = (self.clock.true_now(), self.clock.elapsed());
        let arrival = self.servers.book().arrive(&cell, at, elapsed, etag.is_some());
        let _under_way = UnderWay { servers: &self.servers, source: &cell.source };
        let mut chance = self.servers.chance(&cell, arrival.number);
        let latency = between(server.latency, &mut chance);
        let asked = (request.method(), etag);
        let kind = self.servers.decide(server, &arrival, asked, &mut chance);
        self.servers.book().decided(arrival.index, kind);
        if kind == Kind::Silent {
            return std::future::pending().await;
        }
        tokio::time::sleep(Duration::try_from(latency).unwrap_or_default()).await;
        match kind {
            Kind::Page => Reply::page(&cell, &self.servers.named(&cell)).send(server),
            _ => Reply::new(&self.servers, &cell, &kind).send(server),
        }
    }
}

/// A request that its server has not answered yet.
struct UnderWay<'a> {
    servers: &'a Servers,
    source: &'a SourceId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.servers.book().leave(self.source);
    }
}

impl Transport for SimTransport {
    fn send(
        &self,
        request: Request<Bytes>,
        _reach: Reach,
    ) -> BoxFuture<'_, Result<Response<BodyStream>, TransportError>> {
        Box::pin(self.switch.pass(self.answer(request)))
    }
}

/// The entity of a page that speaks for all.
const PAGE: &str = "ready-page";

/// Whether a request asked for a page, not for a cell.
pub(crate) fn is_page(cell: &CellKey) -> bool {
    cell.entity.as_str() == PAGE
}

/// The cell of an address: `https://SOURCE.sim/ENTITY?date=PERIOD`, without a query for `once`.
fn cell_of(uri: &http::Uri) -> Option<CellKey> {
    let source = SourceId::parse(uri.host()?.strip_suffix(".sim")?).ok()?;
    let entity = Entity::parse(uri.path().strip_prefix('/')?).ok()?;
    let period = match uri.query() {
        Some(query) => Period::parse(query.strip_prefix("date=")?).ok()?,
        None => Period::Once,
    };
    Some(CellKey { source, entity, period })
}
