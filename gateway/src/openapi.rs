//! The description of the API, written by hand and held against the code by tests.

use actix_web::HttpResponse;

const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fleet::sample::info;

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    fn fields(schema: &str) -> Vec<String> {
        let document = document();
        let properties = document["components"]["schemas"][schema]["properties"].as_object();
        properties.unwrap_or_else(|| panic!("no schema {schema}")).keys().cloned().collect()
    }

    /// Every field that a value has is in its schema.
    #[track_caller]
    fn check(schema: &str, value: &Value) {
        let known = fields(schema);
        for field in value.as_object().unwrap().keys() {
            assert!(known.contains(field), "{schema} lacks `{field}`");
        }
    }

    fn report() -> Value {
        json!({
            "requestId": "r", "status": "success", "output": "", "error": "", "outputBase64": "",
            "outputTruncated": false, "errorTruncated": false, "executionTime": 0.1,
            "cpuTime": 0.1, "memoryUsed": 1, "approximate": false, "exitCode": 0, "signal": null,
            "compile": {"status": "success", "output": "", "time": 0.1, "cached": false},
            "cases": [{
                "name": "1", "status": "success", "output": "", "error": "",
                "outputTruncated": false, "errorTruncated": false, "executionTime": 0.1,
                "cpuTime": 0.1, "memoryUsed": 1, "exitCode": 0, "signal": null,
            }],
            "files": [{"path": "a", "content": "", "encoding": "utf8", "size": 0}],
            "timings": {"queue": 0.0, "compile": 0.0, "start": 0.0, "run": 0.0, "total": 0.0},
            "warm": false, "isolation": "separated", "language": "alpha", "version": "1",
        })
    }

    #[test]
    fn schemas_have_every_field_of_the_protocol() {
        let report: protocol::RunReport = serde_json::from_value(report()).unwrap();
        let report = serde_json::to_value(report).unwrap();
        check("RunReport", &report);
        check("CompileReport", &report["compile"]);
        check("CaseReport", &report["cases"][0]);
        check("OutputFile", &report["files"][0]);
        check("Timings", &report["timings"]);
        let info = serde_json::to_value(info("alpha")).unwrap();
        check("ExecutorInfo", &info);
        check("Limits", &info["limits"]);
        check("Isolation", &info["isolation"]);
        let job = queue::Job {
            id: queue::JobId::random(),
            caller: String::new(),
            lane: queue::Lane::new("alpha", "large"),
            state: queue::State::Ready,
            reason: None,
            priority: queue::Priority::default(),
            attempt: 0,
            attempts_max: 3,
            cancel_requested: false,
            created_at: queue::Timestamp(0),
            run_at: None,
            started_at: None,
            finished_at: None,
            position: None,
            version: 1,
        };
        check("Job", &json!(job));
        let field = protocol::FieldError::new("/a", "b");
        let problem = protocol::Problem::new(422, "a", "b", "c").with_errors(vec![field]);
        let problem = serde_json::to_value(problem).unwrap();
        check("Problem", &problem);
        check("FieldError", &problem["errors"][0]);
    }

    #[test]
    fn the_request_schema_has_the_fields_that_the_parser_names() {
        let bounds = protocol::Bounds::default();
        let parsed = [
            ("RunRequest", protocol::RunRequest::parse(b"{\"?\":1}", &bounds).unwrap_err()),
            (
                "ValidateRequest",
                protocol::ValidateRequest::parse(b"{\"?\":1}", &bounds).unwrap_err(),
            ),
        ];
        for (schema, refusal) in parsed {
            let protocol::Refusal::Invalid(errors) = refusal else { panic!("{refusal:?}") };
            let told = &errors.iter().find(|it| it.pointer == "/?").unwrap().detail;
            let (_, names) = told.split_once("the fields are ").unwrap();
            let mut names: Vec<String> =
                names.split(", ").map(|it| it.trim_matches('`').to_owned()).collect();
            names.sort();
            let mut known = fields(schema);
            known.sort();
            assert_eq!(known, names, "{schema}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut left = vec![&document];
        while let Some(value) = left.pop() {
            if let Some(path) = value.get("$ref").and_then(Value::as_str) {
                let pointer = path.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{path}");
            }
            left.extend(value.as_object().into_iter().flat_map(|it| it.values()));
            left.extend(value.as_array().into_iter().flatten());
        }
    }
}
