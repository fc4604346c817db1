//! What keys did that can do more than submit: one line each, in the log under `audit`, and in a
//! file where settings name one. No line holds a key, a program or a result.

mod file;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{io, thread};

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage as _, ResponseError as _};
use jiff::Timestamp;
use serde_json::json;
use telemetry::RequestContext;

use file::Lines;

use crate::auth::{Caller, Role};
use crate::error::ApiError;

/// The status of what nobody was there to be answered. No answer has it.
const LEFT: u16 = 499;

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

/// A use of a key that goes on. It is written down when it is over, which it also is when its client
/// leaves before it is answered: what it asked for may have been done by then.
#[derive(Debug)]
pub(crate) struct Use<'a> {
    audit: &'a Audit,
    caller: Caller,
    address: Option<IpAddr>,
    method: String,
    path: String,
    request_id: String,
    /// None until it is answered.
    status: Option<u16>,
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

    /// Has what `caller` asks for from `address` written down once it is over.
    pub(crate) fn begin(
        &self,
        caller: &Caller,
        address: Option<IpAddr>,
        request: &ServiceRequest,
    ) -> Option<Use<'_>> {
        // Most keys only submit, and nothing is gathered for those.
        if !is_audited(caller) {
            return None;
        }
        let context = request.extensions().get::<RequestContext>().map(|it| it.request_id.clone());
        Some(Use {
            audit: self,
            caller: caller.clone(),
            address,
            method: request.method().to_string(),
            path: request.path().to_owned(),
            request_id: context.unwrap_or_default(),
            status: None,
        })
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

impl Use<'_> {
    /// Notes how it was answered.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let unanswered =
            || if thread::panicking() { ApiError::Internal.status_code().as_u16() } else { LEFT };
        let act = Act {
            method: &self.method,
            path: &self.path,
            status: self.status.unwrap_or_else(unanswered),
            request_id: &self.request_id,
        };
        self.audit.write(&self.caller, self.address, &act);
    }
}
