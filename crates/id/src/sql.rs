//! SQL for those who want the database to give ids of kind `int` by itself: tables, and a function
//! `tidewatch_next_id()`.

/// For PostgreSQL 12 or later; give it to `psql`.
pub const POSTGRES: &str =
    concat!(include_str!("../sql/postgres.sql"), include_str!("../sql/postgres_function.sql"));

/// For MariaDB 10.6 or later; give it to the program `mariadb` (it sets `DELIMITER`).
pub const MARIADB: &str =
    concat!(include_str!("../sql/mariadb.sql"), include_str!("../sql/mariadb_function.sql"));
