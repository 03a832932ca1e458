-- Format 1: hot state of one project. Times are nanoseconds since 1970, money is in millionths, periods are
-- hours since 1970 of their first instant times 8, plus their kind (1 month, 2 week, 3 day,
-- 4 hour), so that numbers sort as periods do.

CREATE TABLE project (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    project_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    observed_at_max INTEGER,
    next_attempt INTEGER NOT NULL,
    next_batch INTEGER NOT NULL,
    generation INTEGER NOT NULL
) STRICT;

-- A source has a number as soon as anything is kept of it, and a version once its row was put.
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    asked_from TEXT,
    paused INTEGER NOT NULL DEFAULT 0,
    entities_seen INTEGER NOT NULL DEFAULT 0,
    version TEXT,
    updated_at INTEGER
) STRICT;

CREATE TABLE definitions (
    source_id INTEGER NOT NULL,
    version TEXT NOT NULL,
    definition TEXT NOT NULL,
    put_at INTEGER NOT NULL,
    PRIMARY KEY (source_id, version)
) STRICT;

CREATE TABLE entities (
    id INTEGER PRIMARY KEY,
    source_id INTEGER NOT NULL,
    entity TEXT NOT NULL,
    UNIQUE (source_id, entity)
) STRICT;

CREATE TABLE cells (
    source_id INTEGER NOT NULL,
    period INTEGER NOT NULL,
    entity_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    cause TEXT,
    outcome TEXT,
    looks INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    complete_since_due INTEGER NOT NULL,
    records INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    observed_at INTEGER,
    next_look_at INTEGER,
    last_attempt INTEGER NOT NULL,
    evidence BLOB,
    records_hash BLOB,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (source_id, period, entity_id)
) STRICT, WITHOUT ROWID;

-- How many cells stand where, kept in the transactions that change cells. No cause is ''.
CREATE TABLE counts (
    source_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    cause TEXT NOT NULL,
    cells INTEGER NOT NULL,
    PRIMARY KEY (source_id, state, cause)
) STRICT, WITHOUT ROWID;

CREATE TABLE spend (
    day TEXT NOT NULL,
    source_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (day, source_id)
) STRICT, WITHOUT ROWID;

-- One row a reservation: attempts `first` to `first + count - 1`, those open as bits. Its cells
-- stand apart, so that closing an attempt does not write them again.
CREATE TABLE reservations (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    source_id INTEGER NOT NULL,
    cost_micros INTEGER NOT NULL,
    reserved_at INTEGER NOT NULL,
    open BLOB NOT NULL
) STRICT;

CREATE TABLE reservation_cells (
    first INTEGER PRIMARY KEY,
    cells BLOB NOT NULL
) STRICT;

CREATE TABLE batches (
    number INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
) STRICT;

CREATE TABLE backfills (
    id INTEGER PRIMARY KEY,
    source_id INTEGER NOT NULL,
    first_day TEXT NOT NULL,
    last_day TEXT NOT NULL,
    requested_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
