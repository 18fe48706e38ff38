//! ApiVersions (18), versions 0 to 4: which APIs and versions are served; the first thing that clients ask.
//!
//! - Any version is answered. One that is not known gets version 0's body with `UNSUPPORTED_VERSION` and this API's own row, in
//!   which clients find the version to come back with.
//! - Version 3 brings the client's name and version, which must look like one; and the features. `transaction.version` is finalized at 2:
//!   clients that know it use an epoch of its own for each transaction (KIP-890). That it may be 0 is told from version 4 on, as in Kafka.

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::error::ErrorCode;
use crate::server::connection::Client;
use crate::server::dispatch::{APIS, Api, api};
use crate::server::header::Request;
use crate::server::shape::{Field, TEXT};

/// The feature that is finalized, and its level.
const TRANSACTION_VERSION: (&str, i16) = ("transaction.version", 2);

pub(in crate::server) const SHAPE: &[Field] = &[TEXT.from(3), TEXT.from(3)];

pub(in crate::server) async fn answer(client: &Client, request: &Request, body: ApiVersionsRequest) -> ApiVersionsResponse {
    if request.version >= 3 && !(is_name(&body.client_software_name) && is_name(&body.client_software_version)) {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    let (name, version) = (body.client_software_name.as_str(), body.client_software_version.as_str());
    tracing::debug!(target: "broker_core::server", peer = %client.peer, name, version, "a client asks what is served");
    let answer = ApiVersionsResponse::default().with_api_keys(APIS.iter().map(row).collect());
    if request.version < 3 {
        return answer;
    }
    let name = StrBytes::from_static_str(TRANSACTION_VERSION.0);
    let supported = SupportedFeatureKey::default().with_name(name.clone()).with_max_version(TRANSACTION_VERSION.1);
    let finalized = FinalizedFeatureKey::default().with_name(name).with_max_version_level(TRANSACTION_VERSION.1);
    answer
        .with_supported_features(if request.version >= 4 { vec![supported] } else { Vec::new() })
        .with_finalized_features(vec![finalized.with_min_version_level(TRANSACTION_VERSION.1)])
        .with_finalized_features_epoch(0)
}

/// The answer to a version that is not known.
pub(in crate::server) fn unsupported() -> ApiVersionsResponse {
    let own = api(18).map(row).into_iter().collect();
    ApiVersionsResponse::default().with_error_code(ErrorCode::UnsupportedVersion.code()).with_api_keys(own)
}

fn row(api: &Api) -> ApiVersion {
    ApiVersion::default().with_api_key(api.key).with_min_version(api.min).with_max_version(api.max)
}

/// Letters and digits, with `.` and `-` between them.
fn is_name(name: &str) -> bool {
    let ends = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}
