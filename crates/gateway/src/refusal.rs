veracity_worker::refusals! {
    /// Refusals of the server itself; those of inference requests are [`veracity_worker::REFUSALS`].
    UNKNOWN_ROUTE = "unknown_route", 404, true, "There is nothing at this path; see `/openapi.json`.";
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, true, "The path has other methods; see `/openapi.json`.";
    INVALID_PATH = "invalid_path", 400, true, "The path is not UTF-8.";
    INVALID_QUERY = "invalid_query", 400, true, "A query parameter is unknown or has no valid value.";
    INVALID_HEADER = "invalid_header", 400, true, "A header of this protocol is repeated or has no valid value.";
    UNSUPPORTED_ENCODING = "unsupported_encoding", 415, true, "The body is compressed; send it as it is.";
    BODY_TOO_LARGE = "body_too_large", 413, true, "The body is larger than this server allows.";
    INCOMPLETE_BODY = "incomplete_body", 400, true, "The connection ended before the body did.";
    REQUEST_TIMEOUT = "request_timeout", 408, true, "The body did not come in time.";
    OVERLOADED = "overloaded", 503, true, "Too many requests at once; try again after `Retry-After`.";
    RUN_TIMEOUT = "run_timeout", 504, true, "The run did not end in time.";
    CROSS_SITE = "cross_site", 403, true, "A page of another site may not change anything here.";
    READ_ONLY = "read_only", 403, true, "Models cannot be changed over HTTP on this server.";
    NOT_A_WORKER = "not_a_worker", 421, true, "This node runs no models and forwards no requests; ask a gateway or a worker.";
    REGISTRY_UNAVAILABLE = "registry_unavailable", 503, true, "The gateway cannot ask the network's registry; try again after `Retry-After`.";
    NO_WORKER = "no_worker", 503, true, "No worker that the gateway reaches serves the model now; try again after `Retry-After`.";
    WORKERS_FAILED = "workers_failed", 502, true, "Workers were asked and none gave a right answer; the text says what was wrong with each.";
    MODEL_NOT_FOUND = "model_not_found", 404, true, "No model has this name or id.";
    VERSION_NOT_FOUND = "version_not_found", 404, true, "The name points at another model than the version asks for.";
    AMBIGUOUS_REFERENCE = "ambiguous_reference", 409, true, "Several model ids begin like this; give more digits.";
    INVALID_MODEL_NAME = "invalid_model_name", 400, true, "The name breaks the rules for names.";
    INVALID_BUNDLE = "invalid_bundle", 400, true, "The upload is not a model bundle, or does not match its hashes.";
    INVALID_MODEL = "invalid_model", 422, true, "The upload is a bundle, but its graph is not a valid model.";
    INVALID_REPORT = "invalid_report", 400, true, "The report is not JSON.";
    RECEIPT_NOT_FOUND = "receipt_not_found", 404, true, "The receipt is unknown or no longer kept here.";
    DISK_FULL = "disk_full", 507, true, "The server's disk is full.";
    STORE_CORRUPT = "store_corrupt", 500, true, "A file of the server's store is damaged; the text says which.";
    STORE_FAILED = "store_failed", 500, true, "The server's store cannot be read or written.";
    MODEL_UNUSABLE = "model_unusable", 500, true, "The stored model cannot be run by this server.";
    INTERNAL = "internal", 500, true, "A defect of the server; please report it.";
}
