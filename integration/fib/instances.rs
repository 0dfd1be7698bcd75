//! Instances that differ in what their routes look like in the kernel.

use crate::{
    scene::{CONFIG, configured, offer},
    stage::CASES,
    support::details,
    world::ip,
};

/// The routes to a destination in a kernel's table, with ours only.
fn shown(option: &str, to: &str, table: &str) -> String {
    ip(&format!("{option} route show {to} table {table} proto 82"))
}

#[test]
fn one_instance_goes_without_next_hop_objects_beside_another_that_has_them() {
    for (all, own) in [(true, "next-hop-objects = false\n"), (false, "next-hop-objects = true\n")] {
        // It ends with the second instance's section.
        let config = format!("[fib]\nnext-hop-objects = {all}\n\n{CONFIG}{own}");
        configured(
            config,
            || {},
            async move |scene| {
                for case in CASES {
                    let clients = [
                        scene.client_in(0, case.family, 14).await,
                        scene.client_in(1, case.family, 14).await,
                    ];
                    for client in &clients {
                        client
                            .entity
                            .add_route(case.to, &offer(case.north, 20, 0), 0)
                            .await
                            .unwrap();
                    }
                    scene.nothing_pending().await;
                    let of = |table| shown(case.option(), case.to, table);
                    let both = [of("254"), of("1000")];
                    let is_by_object = |shown: &String| shown.contains("nhid");
                    assert_eq!(both.each_ref().map(is_by_object), [all, !all], "{both:?}");
                    assert!(both.iter().all(|it| it.contains("dev north")), "{both:?}");

                    // Each by its own means, and both in step.
                    ip("link set north-peer down");
                    scene.links_known().await;
                    scene.in_step().await;
                    assert_eq!([of("254"), of("1000")], [String::new(), String::new()]);
                    ip("link set north-peer up");
                    scene.links_known().await;
                    scene.in_step().await;
                    assert_eq!([of("254"), of("1000")].each_ref().map(is_by_object), [all, !all]);
                    for client in clients {
                        client.entity.deregister(&details([])).await.unwrap();
                    }
                }
            },
        );
    }
}
