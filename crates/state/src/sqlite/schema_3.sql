-- Format 3: what is known of looks at cells that have not arrived, what was learned of arrivals, and
-- what the cells of each period cost (in millionths).

CREATE TABLE looks (
    source_id INTEGER NOT NULL,
    period INTEGER NOT NULL,
    entity_id INTEGER NOT NULL,
    known BLOB NOT NULL,
    PRIMARY KEY (source_id, period, entity_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE schedules (
    source_id INTEGER PRIMARY KEY,
    saved BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE period_spend (
    source_id INTEGER NOT NULL,
    period INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (source_id, period)
) STRICT, WITHOUT ROWID;
