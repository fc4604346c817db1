//! The limits of the job API: profiles by name, each of whose limits can be changed by itself.

use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// A set of limits with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For a form that anybody may send.
    #[default]
    Public,
    /// For a page of one's own people.
    Internal,
}

/// What one program, one address and all of them together may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// A program, in bytes.
    pub(crate) code_bytes: usize,
    /// What is told of each stream, in bytes.
    pub(crate) output_bytes: usize,
    /// How long a program may run, in seconds.
    pub(crate) timeout_seconds: f64,
    /// Programs a minute of one address.
    pub(crate) per_minute: u32,
    /// Programs that run at a time.
    pub(crate) running: u64,
    /// How long a result is kept, in seconds.
    pub(crate) ttl_seconds: f64,
}

impl Profile {
    const fn limits(self) -> Limits {
        match self {
            Self::Public => Limits {
                code_bytes: 5 << 10,
                output_bytes: 10 << 10,
                timeout_seconds: 5.0,
                per_minute: 10,
                running: 2,
                ttl_seconds: 600.0,
            },
            Self::Internal => Limits {
                code_bytes: 256 << 10,
                output_bytes: 1 << 20,
                timeout_seconds: 30.0,
                per_minute: 60,
                running: 16,
                ttl_seconds: 3600.0,
            },
        }
    }
}

impl Limits {
    /// Those of the profile that settings choose, but for what they change.
    pub(crate) fn of(settings: &Settings) -> Self {
        let own = settings.job_api_profile.limits();
        Self {
            code_bytes: settings.job_api_code_bytes_max.unwrap_or(own.code_bytes),
            output_bytes: settings.job_api_output_bytes_max.unwrap_or(own.output_bytes),
            timeout_seconds: settings.job_api_timeout_seconds.unwrap_or(own.timeout_seconds),
            per_minute: settings.job_api_per_minute.unwrap_or(own.per_minute),
            running: settings.job_api_running_max.unwrap_or(own.running),
            ttl_seconds: settings.job_api_ttl_seconds.unwrap_or(own.ttl_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_chosen_and_a_limit_of_it_changed() {
        let public = Limits::of(&Settings::default());
        assert_eq!((public.code_bytes, public.output_bytes), (5120, 10_240));
        assert_eq!((public.per_minute, public.running), (10, 2));
        let internal = Settings {
            job_api_profile: Profile::Internal,
            job_api_per_minute: Some(7),
            ..Settings::default()
        };
        let internal = Limits::of(&internal);
        assert_eq!(internal, Limits { per_minute: 7, ..Profile::Internal.limits() });
    }
}
