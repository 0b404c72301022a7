//! The interpreter at work: case files, single rules, properties.

mod cases;
mod player;
