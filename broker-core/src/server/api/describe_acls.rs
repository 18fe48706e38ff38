//! DescribeAcls (29), versions 1 to 3: nobody's rights are looked at, which `SECURITY_DISABLED` says. Tools that only want to know
//! go on.

use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::text;
use crate::error::ErrorCode;
use crate::server::connection::Client;
use crate::server::header::Request;
use crate::server::shape::{Field, I8, TEXT};

pub(in crate::server) const SHAPE: &[Field] = &[I8, TEXT, I8, TEXT, TEXT, I8, I8];

pub(in crate::server) async fn answer(_: &Client, _: &Request, _: DescribeAclsRequest) -> DescribeAclsResponse {
    let message = text("this broker looks at nobody's rights");
    DescribeAclsResponse::default().with_error_code(ErrorCode::SecurityDisabled.code()).with_error_message(Some(message))
}
