//! zeropipe: `push(job)` and an async-iterable `pull()` over ZeroMQ, for Node.js.
//!
//! # The path of a job
//!
//! Out: `lib/packer.js` packs jobs into a slab, [`binding`] hands the slab over as a [`batch::Batch`],
//! [`flow`] frames its jobs into the outboxes of peers (`sender`), and [`engine`] writes those out (`link`).
//!
//! In: `link` reads and [`wire`] turns bytes into batches, `pull_end` deals them fairly to whoever waits,
//! [`binding`] hands them up and `lib/unpacker.js` slices jobs out of the slab.
//!
//! # The layers
//!
//! Imports go down only: `binding -> engine -> flow -> wire -> leaves` (`tests/layers.rs` holds them apart).
//! Only [`binding`] knows Node and only it may be unsafe; only [`engine`] knows tokio; [`flow`] has no clock,
//! chance or threads; [`wire`] does no I/O.

pub mod batch;
pub mod binding;
pub mod config;
pub mod endpoint;
pub mod engine;
pub mod error;
pub mod flow;
pub mod wire;
