//! The program `tidewatch`.
fn main() {}
