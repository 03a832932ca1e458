-- Tidewatch ids on PostgreSQL 12 or later: leases of nodes, and counters.
CREATE TABLE IF NOT EXISTS tidewatch_id_space (
    name text PRIMARY KEY,
    epoch_ms bigint NOT NULL,
    time_bits bigint NOT NULL,
    node_bits bigint NOT NULL,
    sequence_bits bigint NOT NULL,
    nodes_used bigint NOT NULL
);

-- `until_ms`: the end of all time ever granted for a node; `term`: its holders so far.
CREATE TABLE IF NOT EXISTS tidewatch_id_node (
    space text NOT NULL,
    node bigint NOT NULL,
    term bigint NOT NULL,
    until_ms bigint NOT NULL,
    holder text NOT NULL,
    PRIMARY KEY (space, node)
);

CREATE TABLE IF NOT EXISTS tidewatch_id_counter (
    name text PRIMARY KEY,
    next bigint NOT NULL,
    term bigint NOT NULL
);
