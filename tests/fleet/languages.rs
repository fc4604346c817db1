//! Every language through its executor.

pub(crate) use tests::start_executor as start;

use crate::checks::Checks;
use crate::language::{LANGUAGES, Language};
use crate::target::Target;
use crate::{contract, endings, fields, files, output, programs, validation};

/// Everything that is asked of a language.
fn everything<'a>(language: &'static Language, target: &'a Target) -> Vec<Checks<'a>> {
    vec![
        programs::checks(language, target),
        contract::checks(language, target),
        fields::checks(language, target),
        files::checks(language, target),
        output::checks(language, target),
        endings::checks(language, target),
        validation::checks(language, target),
    ]
}

/// Makes every check of the languages of one executor.
async fn check(folder: &str) {
    let Some(server) = start(folder, &[("EXECUTOR_SLOTS", "2")]).await else { return };
    let family: Vec<&'static Language> =
        LANGUAGES.iter().filter(|it| it.executor == folder).collect();
    let target = |it: &&Language| {
        let is_main = it.id == folder;
        if is_main { Target::executor(&server) } else { Target::executor_for(&server, it.id) }
    };
    let targets: Vec<Target> = family.iter().map(target).collect();
    let mut checks = Checks::default();
    for (language, target) in family.iter().zip(&targets) {
        for group in everything(language, target) {
            checks.extend(group);
        }
    }
    checks.make(folder, 2).await;
    let health = crate::target::get(&server, "/health").await;
    assert_eq!(health.body["slotsFree"], 2, "a slot is lost: {:?}", health.body);
}

#[tokio::test]
async fn python_does_all_that_is_asked_of_a_language() {
    check("python").await;
}

#[tokio::test]
async fn javascript_and_typescript_do_all_that_is_asked_of_a_language() {
    check("javascript").await;
}

#[tokio::test]
async fn java_does_all_that_is_asked_of_a_language() {
    check("java").await;
}

#[tokio::test]
async fn cpp_does_all_that_is_asked_of_a_language() {
    check("cpp").await;
}

#[tokio::test]
async fn go_does_all_that_is_asked_of_a_language() {
    check("go").await;
}

#[tokio::test]
async fn rust_does_all_that_is_asked_of_a_language() {
    check("rust").await;
}
