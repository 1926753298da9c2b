//! zeropipe: `push(job)` and an async-iterable `pull()` over ZeroMQ, for Node.js.
//!
//! # The path of a job
//!
//! Out: `lib/packer.js` packs jobs into a slab, [`binding`] hands the slab over as a [`batch::Batch`],
//! [`engine`] deals its jobs to peers (`push_end`), frames them into a peer's `outbox` and writes that out (`link`).
//!
//! In: `link` reads and [`wire`] turns bytes into batches, `pull_end` deals them fairly to whoever waits,
//! [`binding`] hands them up and `lib/unpacker.js` slices jobs out of the slab.
//!
//! # The floors
//!
//! Imports go down only: `binding -> engine -> wire -> leaves` (`tests/layers.rs` holds them apart).
//! Only [`binding`] knows Node and only it may be unsafe; only [`engine`] knows tokio; [`wire`] does no I/O.

pub mod batch;
pub mod binding;
pub mod config;
pub mod endpoint;
pub mod engine;
pub mod error;
pub mod flow;
pub mod wire;
