CREATE TABLE IF NOT EXISTS tidewatch_id_space (
    name TEXT PRIMARY KEY,
    epoch_ms INTEGER NOT NULL,
    time_bits INTEGER NOT NULL,
    node_bits INTEGER NOT NULL,
    sequence_bits INTEGER NOT NULL,
    nodes_used INTEGER NOT NULL
) STRICT;

-- Beside the end of what was granted, by the time of day, a lease's end by a clock that is never
-- stepped: `expires_ms` on the scale `scale` (the machine's present start).
CREATE TABLE IF NOT EXISTS tidewatch_id_node (
    space TEXT NOT NULL,
    node INTEGER NOT NULL,
    term INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    scale TEXT NOT NULL,
    expires_ms INTEGER NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (space, node)
) STRICT;

CREATE TABLE IF NOT EXISTS tidewatch_id_counter (
    name TEXT PRIMARY KEY,
    next INTEGER NOT NULL,
    term INTEGER NOT NULL
) STRICT;
