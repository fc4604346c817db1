//! `GET /v1/languages`: what the fleet runs, by the word of its executors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use protocol::{Bounds, ExecutorInfo, LanguageInfo, Level, ProgramExample, Syntax};
use serde::Serialize;

use crate::error::ApiError;
use crate::fleet::{Fleet, View};
use crate::rooms::Visitor;
use crate::routing::{self, NoChoice};
use crate::shared::Shared;

/// A language as the fleet runs it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Language {
    id: String,
    aliases: Vec<String>,
    entry: String,
    example: String,
    /// Further programs to start from.
    examples: Vec<ProgramExample>,
    /// How its sources look, for editors.
    #[serde(skip_serializing_if = "Option::is_none")]
    syntax: Option<Syntax>,
    /// The default one first.
    versions: Vec<String>,
    features: Vec<String>,
    limits: Bounds,
    /// The weakest of its live executors.
    isolation: Level,
    /// Whether any executor runs it now.
    available: bool,
    executors: usize,
    slots: usize,
    slots_free: usize,
}

/// Every language.
#[derive(Debug, Serialize)]
struct Languages {
    languages: Vec<Language>,
}

/// `GET /v1/languages`
pub(crate) async fn list(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(Languages { languages: catalogue(&shared.fleet) })
}

/// `GET /v1/rooms/{id}/languages`: the same, for whoever may look at a room.
pub(crate) async fn of_room(
    request: HttpRequest,
    id: web::Path<String>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    Visitor::of(&shared, &id, &request).await?;
    Ok(list(shared).await)
}

/// `GET /v1/languages/{language}`: by id or alias.
pub(crate) async fn one(
    shared: web::Data<Shared>,
    language: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let word = language.into_inner();
    let languages = catalogue(&shared.fleet);
    let is_meant = |it: &&Language| routing::is_named(&it.id, &it.aliases, &word);
    if let Some(language) = languages.iter().find(is_meant) {
        return Ok(HttpResponse::Ok().json(language));
    }
    let is_named = |names: &[String]| names.iter().any(|it| it.eq_ignore_ascii_case(&word));
    let remembered = shared.fleet.remembered();
    let language: String = word.chars().take(64).collect();
    if remembered.iter().any(|it| it.info.is_none() && is_named(&it.names)) {
        return Err(NoChoice::NoLiveExecutor { language }.into());
    }
    let known = languages.into_iter().map(|it| it.id).collect();
    Err(NoChoice::UnknownLanguage { language, known }.into())
}

fn catalogue(fleet: &Fleet) -> Vec<Language> {
    let remembered: Vec<Arc<ExecutorInfo>> =
        fleet.remembered().into_iter().filter_map(|it| it.info).collect();
    merge(&remembered, &fleet.views(Instant::now()))
}

/// Every language that is remembered, with what its live executors have to offer.
fn merge(remembered: &[Arc<ExecutorInfo>], views: &[View]) -> Vec<Language> {
    let mut languages: BTreeMap<&str, Language> = BTreeMap::new();
    for view in views.iter().filter(|it| it.is_live()) {
        let Some(info) = &view.info else { continue };
        for language in &info.languages {
            let entry = languages.entry(&language.id).or_insert_with(|| describe(language, info));
            entry.available = true;
            entry.executors += 1;
            entry.slots += view.health.as_ref().map_or(info.slots, |it| it.slots);
            entry.slots_free += view.health.as_ref().map_or(info.slots_free, |it| it.slots_free);
            entry.isolation = entry.isolation.min(info.isolation.level);
            for version in versions(info) {
                if !entry.versions.contains(&version) {
                    entry.versions.push(version);
                }
            }
        }
    }
    for info in remembered {
        for language in &info.languages {
            languages.entry(&language.id).or_insert_with(|| describe(language, info));
        }
    }
    languages.into_values().collect()
}

fn describe(language: &LanguageInfo, info: &ExecutorInfo) -> Language {
    Language {
        id: language.id.clone(),
        aliases: language.aliases.clone(),
        entry: language.entry.clone(),
        example: language.example.clone(),
        examples: language.examples.clone(),
        syntax: language.syntax.clone(),
        versions: versions(info),
        features: info.features.clone(),
        limits: info.limits.clone(),
        isolation: info.isolation.level,
        available: false,
        executors: 0,
        slots: 0,
        slots_free: 0,
    }
}

fn versions(info: &ExecutorInfo) -> Vec<String> {
    info.runtimes.iter().map(|it| it.version.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::sample::info;

    #[test]
    fn a_language_without_a_live_executor_is_listed_as_not_available() {
        let languages = merge(&[Arc::new(info("alpha"))], &[]);
        assert_eq!(languages.len(), 1);
        assert!(!languages[0].available && languages[0].executors == 0);
        assert_eq!(languages[0].versions, ["1.2.3"]);
    }
}
