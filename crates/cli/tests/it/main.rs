//! The program as a whole, as a person or a script uses it: the real binary, real files, real HTTP
//! on loopback.

mod commands;
mod crash;
mod harness;
mod hostile;
mod real_data;
