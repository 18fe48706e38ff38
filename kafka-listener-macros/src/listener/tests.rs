use proc_macro2::TokenStream;
use quote::quote;

use super::attribute;

fn expanded(args: TokenStream, item: TokenStream) -> String {
    attribute(args, item).to_string().replace(' ', "")
}

/// How many messages the generated code holds.
fn messages(code: &str) -> usize {
    code.matches("compile_error!").count()
}

#[test]
fn generated_code_names_only_the_private_module() {
    let code = expanded(
        quote!(topics = ["a", "b"], ack_mode = Manual, batch = true, partitions = [("c", "0")]),
        quote!(
            pub async fn on_text<'a>(text: &'a str, ack: Ack) -> Result<(), E> {}
        ),
    );
    let code = code
        + &expanded(
            quote!(topic = "a", batch = true),
            quote!(
                async fn on_text(text: &str, ack: Ack) {}
            ),
        );
    assert!(code.contains("::kafka_listener::private::register!"));
    for (place, _) in code.match_indices("kafka_listener::") {
        let behind = &code[place + "kafka_listener::".len()..];
        assert!(behind.starts_with("private::"), "{}", &behind[..40]);
    }
    for path in ["::std::", "Some(", "None", "Ok(", "Err("] {
        for (place, _) in code.match_indices(path) {
            let before = &code[..place];
            assert!(before.ends_with("::core::option::Option::") || before.ends_with("::core::result::Result::"), "{path}");
        }
    }
}

#[test]
fn the_function_is_left_as_it_is() {
    let item = quote! {
        #[doc = "Bills."]
        #[inline]
        pub(crate) async fn bill(Json(order): Json<Order<'_>>) -> Result<(), E> { charge(order).await }
    };
    assert!(expanded(quote!(topic = "orders"), item.clone()).starts_with(&item.to_string().replace(' ', "")));
}

#[test]
fn another_name_of_the_framework() {
    let code = expanded(
        quote!(topic = "a", crate = mine::framework),
        quote!(
            async fn on_text(text: &str) {}
        ),
    );
    assert!(!code.contains("kafka_listener") && code.contains("mine::framework::private::Endpoint"), "{code}");
}

#[test]
fn every_mistake_is_told_and_callers_still_resolve() {
    for (args, item, expected) in [
        (
            quote!(topic = "a"),
            quote!(
                async fn f(a: A) {}
            ),
            0,
        ),
        (
            quote!(),
            quote!(
                async fn f(a: A) {}
            ),
            1,
        ),
        (
            quote!(topic),
            quote!(
                async fn f(a: A) {}
            ),
            1,
        ),
        (
            quote!(topic = "a",),
            quote!(
                async fn f(a: A) {}
            ),
            0,
        ),
        (
            quote!(topic = "a", = 3, group_id = "b"),
            quote!(
                async fn f(a: A) {}
            ),
            1,
        ),
        (
            quote!(topic = "a", "b"),
            quote!(
                async fn f(a: A) {}
            ),
            1,
        ),
        (
            quote!(topc = "a", topcs = ["b"], group = 3),
            quote!(
                fn f<T>(a: A) {}
            ),
            5,
        ),
        (
            quote!(topic = "a", ack_mode = Cont, ack_count = 0, concurrency = 1.5),
            quote!(
                async fn f(a: A) {}
            ),
            3,
        ),
        (
            quote!(topic = "a", properties = ["x", "=y", "group.id=b", "a=b"]),
            quote!(
                async fn f(a: A) {}
            ),
            3,
        ),
        (
            quote!(topic = "a"),
            quote!(
                async fn f(#[cfg(x)] a: A, b: &'static str, c: impl C) {}
            ),
            3,
        ),
    ] {
        let text = format!("{args} on {item}");
        let code = expanded(args, item);
        assert_eq!(messages(&code), expected, "{text}: {code}");
        assert!(code.contains("structf{}") && code.contains("constENDPOINT:"), "{text}: {code}");
        assert_eq!(code.contains("register!"), expected == 0, "{text}");
    }
}

#[test]
fn what_is_no_function_keeps_its_text() {
    for item in [
        quote!(
            struct S;
        ),
        quote!(impl S {}),
        quote!(
            enum E {}
        ),
        quote!(
            mod m {}
        ),
        quote!(
            trait T {}
        ),
    ] {
        let code = expanded(quote!(topic = "a"), item.clone());
        assert_eq!(messages(&code), 1, "{code}");
        assert!(code.starts_with(&item.to_string().replace(' ', "")), "{code}");
    }
    let method = expanded(
        quote!(topic = "a"),
        quote!(
            async fn f(&self, a: A) {}
        ),
    );
    assert!(messages(&method) == 1 && !method.contains("struct"), "{method}");
}

#[test]
fn a_setting_may_come_from_the_configuration_as_a_whole() {
    let item = quote!(
        async fn on_text(text: &str) {}
    );
    for line in ["${setting}", "${setting:max.poll.records=5}", "max.poll.records=${n}"] {
        assert_eq!(messages(&expanded(quote!(topic = "a", properties = [#line]), item.clone())), 0, "{line}");
    }
    for line in ["max.poll.records", "=5", "group.id=${g}"] {
        assert_eq!(messages(&expanded(quote!(topic = "a", properties = [#line]), item.clone())), 1, "{line}");
    }
}
