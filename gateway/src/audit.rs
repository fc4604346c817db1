//! What keys did that can do more than submit: one line each, in the log under `audit`, and in a
//! file where settings name one. No line holds a key, a program or a result.

mod file;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use actix_web::HttpMessage as _;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use jiff::Timestamp;
use serde_json::json;
use telemetry::RequestContext;

use file::Lines;

use crate::auth::{Caller, Role};

/// Where it is written down.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    file: Option<Mutex<Lines>>,
}

/// One use of a key.
#[derive(Debug)]
pub(crate) struct Act<'a> {
    /// The method, or the kind of a message over a socket.
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    /// The request; of a message, the one that opened its socket.
    pub(crate) request_id: &'a str,
}

/// Whether what a caller does is written down: its key can do more than submit.
fn is_audited(caller: &Caller) -> bool {
    caller.holder().is_some_and(|it| it.may(Role::Work) || it.may(Role::Admin))
}

impl Audit {
    /// Goes on with the file at `path`, which only we may read, if there is to be one. It is put aside
    /// before it has more than `bytes_max`.
    pub(crate) fn open(path: Option<&Path>, bytes_max: u64) -> io::Result<Self> {
        let lines = path.map(|it| Lines::open(it, bytes_max)).transpose()?;
        Ok(Self { file: lines.map(Mutex::new) })
    }

    /// Writes down what `caller` asked for from `address`, and how it was answered.
    pub(crate) fn note(
        &self,
        caller: &Caller,
        address: Option<IpAddr>,
        response: &ServiceResponse<BoxBody>,
    ) {
        // Most keys only submit, and nothing is gathered for those.
        if !is_audited(caller) {
            return;
        }
        let request = response.request();
        let context = request.extensions().get::<RequestContext>().map(|it| it.request_id.clone());
        let act = Act {
            method: request.method().as_str(),
            path: request.path(),
            status: response.status().as_u16(),
            request_id: &context.unwrap_or_default(),
        };
        self.write(caller, address, &act);
    }

    /// Writes down one act of `caller` from `address`, if its key can do more than submit.
    pub(crate) fn write(&self, caller: &Caller, address: Option<IpAddr>, act: &Act<'_>) {
        let Some(holder) = caller.holder().filter(|_| is_audited(caller)) else { return };
        let roles: Vec<&str> = holder.roles.iter().copied().map(Role::as_str).collect();
        let roles = roles.join("+");
        let address = address.map(|it| it.to_canonical().to_string()).unwrap_or_default();
        let Act { method, path, status, request_id } = act;
        tracing::info!(
            target: "audit",
            key = holder.name,
            roles,
            address,
            status,
            request.id = request_id,
            "{method} {path}"
        );
        let Some(file) = &self.file else { return };
        let line = json!({
            "at": Timestamp::now().to_string(), "key": holder.name, "roles": roles,
            "address": address, "method": method, "path": path, "status": status,
            "requestId": request_id,
        });
        let line = format!("{line}\n");
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.add(&line) {
            tracing::error!("the audit file cannot be written: {error}");
        }
    }
}
