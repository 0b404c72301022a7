//! The interpreter at work: case files, single rules, properties.

mod cases;
mod containers;
mod generate;
mod graph;
mod pieces;
mod player;
mod properties;
mod tasks;
mod waits;
