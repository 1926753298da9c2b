//! A pipe's options, as `lib/options.js` hands them over: checked and complete.

use std::time::Duration;

use napi_derive::napi;

use crate::{
    config::{Config, Sites},
    endpoint::Endpoint,
    error::Error,
};

/// See `PipeOptions` in `index.d.ts`.
#[napi(object, object_to_js = false)]
pub struct NativeOptions {
    pub push_bind: Vec<String>,
    pub push_connect: Vec<String>,
    pub pull_bind: Vec<String>,
    pub pull_connect: Vec<String>,
    pub request_bind: Vec<String>,
    pub request_connect: Vec<String>,
    pub reply_bind: Vec<String>,
    pub reply_connect: Vec<String>,
    pub max_waiting_jobs: f64,
    pub max_waiting_bytes: f64,
    pub max_message_size: f64,
    pub max_attempts: f64,
    pub ack_timeout: f64,
    pub flow: bool,
    pub heartbeat_interval: f64,
    pub heartbeat_timeout: f64,
    pub identity: String,
}

impl NativeOptions {
    /// As the engine wants them.
    pub fn config(self) -> Result<Config, Error> {
        Ok(Config {
            push: sites(&self.push_bind, &self.push_connect)?,
            pull: sites(&self.pull_bind, &self.pull_connect)?,
            request: sites(&self.request_bind, &self.request_connect)?,
            reply: sites(&self.reply_bind, &self.reply_connect)?,
            max_waiting_jobs: self.max_waiting_jobs as usize,
            max_waiting_bytes: self.max_waiting_bytes as usize,
            max_message_size: self.max_message_size as usize,
            max_attempts: self.max_attempts as u32,
            ack_timeout: self.ack_timeout.is_finite().then(|| milliseconds(self.ack_timeout)),
            flow: self.flow,
            heartbeat_interval: milliseconds(self.heartbeat_interval),
            heartbeat_timeout: milliseconds(self.heartbeat_timeout),
            identity: self.identity.into_bytes(),
        })
    }
}

/// A number of milliseconds; what no clock can hold is for ever.
pub fn milliseconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number / 1000.0).unwrap_or(Duration::MAX)
}

fn sites(bind: &[String], connect: &[String]) -> Result<Sites, Error> {
    Ok(Sites { bind: endpoints(bind)?, connect: endpoints(connect)? })
}

fn endpoints(texts: &[String]) -> Result<Vec<Endpoint>, Error> {
    texts.iter().map(|text| text.parse()).collect()
}

/// What is wrong with an endpoint, or nothing.
#[napi(catch_unwind)]
#[cfg_attr(test, allow(dead_code, reason = "only JavaScript calls it, and there is none in unit tests"))]
pub fn endpoint_problem(text: String, connects: bool) -> Option<String> {
    match text.parse::<Endpoint>() {
        Err(error) => Some(error.text),
        Ok(endpoint) if connects => endpoint.connect_problem(&text),
        Ok(_) => None,
    }
}
