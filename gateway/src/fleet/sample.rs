//! A made-up executor for tests.

use protocol::{
    Bounds, ExecutorInfo, IsolationReport, LanguageInfo, Level, LimitsInForce, RuntimeInfo,
    SamplesReport, WarmInfo,
};

/// An executor that runs `language`, which is also called `<language>-alias`.
pub(crate) fn info(language: &str) -> ExecutorInfo {
    let aliases = vec![format!("{language}-alias")];
    ExecutorInfo {
        version: "1".to_owned(),
        language: language.to_owned(),
        aliases: aliases.clone(),
        languages: vec![LanguageInfo {
            id: language.to_owned(),
            aliases,
            entry: "main.x".to_owned(),
            example: "print".to_owned(),
            examples: Vec::new(),
            syntax: None,
        }],
        runtimes: vec![RuntimeInfo { version: "1.2.3".to_owned(), default: true }],
        limits: Bounds::default(),
        slots: 2,
        slots_free: 2,
        waiting: 0,
        features: Vec::new(),
        isolation: IsolationReport {
            level: Level::Separated,
            minimum: Level::Separated,
            guarantees: Vec::new(),
            raise: Vec::new(),
            limits: LimitsInForce {
                processes: 64,
                open_files: 256,
                file_bytes: 1,
                output_bytes: 1,
                output_kill_bytes: 1,
            },
            outer: Vec::new(),
            self_test: None,
        },
        warm: WarmInfo::default(),
        samples: SamplesReport::default(),
        notes: Vec::new(),
    }
}
