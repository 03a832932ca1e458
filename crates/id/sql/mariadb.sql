-- Tidewatch ids on MariaDB 10.6 or later: leases of nodes, and counters.
CREATE TABLE IF NOT EXISTS tidewatch_id_space (
    name varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    epoch_ms bigint NOT NULL,
    time_bits bigint NOT NULL,
    node_bits bigint NOT NULL,
    sequence_bits bigint NOT NULL,
    nodes_used bigint NOT NULL
) ENGINE = InnoDB;

-- `until_ms`: the end of all time ever granted for a node; `term`: its holders so far.
CREATE TABLE IF NOT EXISTS tidewatch_id_node (
    space varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    node bigint NOT NULL,
    term bigint NOT NULL,
    until_ms bigint NOT NULL,
    holder varchar(100) CHARACTER SET utf8mb4 NOT NULL,
    PRIMARY KEY (space, node)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS tidewatch_id_counter (
    name varchar(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
    next bigint NOT NULL,
    term bigint NOT NULL
) ENGINE = InnoDB;
