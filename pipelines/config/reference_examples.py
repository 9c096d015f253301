"""The examples of the reference: each is loaded by a test, and together they use every key."""

from __future__ import annotations

SOURCE: dict[str, tuple[str, ...]] = {
    "Source": (
        "source: shop\nbase_url: https://api.shop.example/v1\nheaders: {Accept-Language: en}\nparams: {tenant: acme}\n"
        "user_agent: acme-data/1.0 (data@acme.example)\nmax_response: 64MB\nca_bundle: certificates/acme.pem",
        "auth: {bearer: '${SHOP_TOKEN}'}\nlimits: {rate: 10/s}\nretry: {attempts: 3}\ntimeout: 30s\n"
        "allow_hosts: ['https://files.shop.example']\nschedule: {interval: 6h}",
        "defaults: {paginate: link_header, key: id}\nresources:\n  orders: {path: /orders}\n"
        "  customers: {path: /customers}",
    ),
    "References": (
        "base_url: https://${SHOP_HOST:-api.shop.example}/v1\nauth: {bearer: '${SHOP_TOKEN}'}\n"
        "user_agent: acme-data/1.0 (${CONTACT:-no contact given})",
    ),
    "Defaults": (
        "defaults: {paginate: link_header, params: {per_page: 100, lang: en}}\nresources:\n"
        "  orders: {path: /orders, params: {lang: es}} # and per_page: 100\n  rates: {path: /rates, paginate: null}",
    ),
    "Bearer": ("auth: {bearer: '${SHOP_TOKEN}'}", "auth: {bearer: {token: '${SHOP_TOKEN}'}}"),
    "Basic": ("auth: {basic: {user: acme, password: '${SHOP_PASSWORD}'}}",),
    "ApiKey": (
        "auth: {api_key: {header: X-Api-Key, value: '${SHOP_TOKEN}'}}",
        "auth: {api_key: {param: key, value: '${SHOP_TOKEN}'}}",
    ),
    "ClientCredentials": (
        "auth:\n  oauth2_client_credentials:\n    token_url: https://auth.shop.example/token\n    client_id: acme\n"
        "    client_secret: '${SHOP_SECRET}'\n    scope: orders.read\n    send: body",
    ),
    "RefreshToken": (
        "auth:\n  oauth2_refresh_token:\n    token_url: https://auth.shop.example/token\n    client_id: acme\n"
        "    client_secret: '${SHOP_SECRET}'\n    refresh_token: '${SHOP_REFRESH_TOKEN}'\n    scope: orders.read\n"
        "    send: basic",
    ),
    "Session": (
        "auth:\n  session:\n    login: /login\n    body: {user: acme, password: '${SHOP_PASSWORD}'}\n"
        "    token: data.token\n    header: X-Session\n    prefix: ''\n    lasts: 30min",
        "auth: {session: {login: /login, form: {user: acme, password: '${SHOP_PASSWORD}'}, cookie: SID}}",
    ),
    "Limits": (
        "limits:\n  rate: [10/s, 5000/h]\n  in_flight: 4\n  daily: 50000\n  remaining_header: X-RateLimit-Remaining\n"
        "  reset_header: X-RateLimit-Reset",
    ),
    "Retry": ("retry: {attempts: 5, wait: 500ms, max_wait: 30s, total: 5min, statuses: [429, 502, 503]}",),
    "Deadlines": ("timeout: {connect: 5s, read: 30s, total: 2min}",),
    "AllowedHost": ("allow_hosts: [{origin: 'https://files.shop.example', with_credentials: true}]",),
    "Schedule": (
        "schedule: {cron: '15 * * * *', timezone: Europe/Madrid}",
        "schedule: {interval: 6h}",
        "schedule: {rrule: 'FREQ=WEEKLY;BYDAY=MO'}",
    ),
}
"""By model or section: lines at the top of a source file."""

RESOURCE: dict[str, tuple[str, ...]] = {
    "Types": (
        "columns:\n  id: uint64\n  total: decimal(12,2)\n  ordered_at: timestamp(ms) from epoch_ms\n"
        "  shipped_at: {type: timestamp, zone: Europe/Madrid}\n  tags: list<string>\n"
        "  lines: 'list<struct<sku: string, count: int32>>'\n  extra: json",
    ),
    "Placeholders": (
        "path: /rates/{currency}/{window.start}..{window.end}\nfor_each: {values: {currency: [USD, JPY]}}\n"
        "carry: {currency: currency}\nkey: [currency, date]\nwrite: upsert\n"
        "incremental: {cursor: date, format: date, bounds: closed, start: 2024-01-01, window: 91d}",
        "path: /search\nbody: {updated: {from: '{window.start}', to: '{window.end}'}}\nidempotent: true\nkey: id\n"
        "write: upsert\nincremental: {cursor: updated_at, format: epoch_ms, start: 2024-01-01}\n"
        "columns: {updated_at: timestamp(ms) from epoch_ms}",
    ),
    "Resource": (
        "path: /orders\nmethod: GET\nparams: {per_page: 100}\nheaders: {X-Version: '2'}\npaginate: link_header\n"
        "max_pages: 10000\nweight: 2\ndescription: one order\nkey: [id]\nwrite: upsert\nversion: updated_at\n"
        "partition_by: month(created_at)\nsort_by: created_at",
        "path: /search\nbody: {query: {status: open}}\nidempotent: true\nrecords: hits\nformat: json\n"
        "allow_empty: true\nolder_files: cast",
        "path: /repos/{repos.full_name}/issues\nfor_each: {resource: repos}\ncarry: {repo: full_name}\n"
        "errors: [{status: 404, do: skip}]",
        "columns: {total: 'decimal(12,2)'}\nflatten: 1\nrename: {Id: id}\non_new_column: ignore\n"
        "on_mismatch: quarantine\nmask: {email: {sha256: '${MASK_SALT}'}, phone: drop, card: last4}\n"
        "expect: [{not_null: id}]\n"
        "transform: worldbank:clean_countries",
        "incremental: {cursor: updated_at, since_param: since, start: 2024-01-01}\nkey: id\nwrite: upsert\n"
        "deletes: {when: status == 'gone'}\ncount: {path: /orders/count}\ngraphql: {query: '{ orders { id } }'}",
    ),
    "Records": (
        "records: data.orders",
        "records: {columns: daily}",
        "records: {entries: rates, keys: [date, currency], value: rate}",
        "records: {rows: data.order, single: true, 'null': empty}",
    ),
    "Column": (
        "columns:\n  id: int64\n  mag: {type: float64, from: properties.mag, unit: Mw, description: magnitude}\n"
        "  at: {type: timestamp, zone: Europe/Madrid, required: true}",
    ),
    "Sha256": ("mask: {email: sha256}", "mask: {email: {sha256: '${SALT_OF_PEOPLE}'}}"),
    "Expectation": (
        "expect:\n  - {unique: id}\n  - {not_null: [id, total]}\n  - {min_rows: 1, severity: warn}\n"
        "  - {between: {total: [0, null]}, severity: quarantine}\n  - {matches: {country: '[A-Z]{2}'}}\n"
        "  - {freshness: {updated_at: 2d}}",
    ),
    "Deletes": (
        "key: id\nwrite: upsert\ndeletes: {when: _deleted}",
        "key: id\nwrite: upsert\ndeletes: {missing: true}",
    ),
    "GraphQL": (
        "path: /graphql\ngraphql:\n  query: 'query($after: String) { orders(first: 50, after: $after) { nodes { id }\n"
        "    pageInfo { hasNextPage endCursor } } }'\n  variables: {after: null}\nidempotent: true\n"
        "records: data.orders.nodes\npaginate:\n  cursor:\n    from: data.orders.pageInfo.endCursor\n"
        "    field: variables.after\n    more: data.orders.pageInfo.hasNextPage",
    ),
    "NoPages": (
        "paginate: none",
        "paginate: {none: {total: count}}",
        "paginate: {none: {total_header: X-Total-Count}}",
    ),
    "PageNumber": (
        "paginate: {page_number: {param: page, first: 1, size: 100, size_param: per_page, total: meta.total}}",
        "body: {}\nidempotent: true\npaginate: {page_number: {field: page.number, size: 50, size_field: page.size, "
        "until: short}}",
        "paginate: {page_number: {total_header: X-Total-Count}}",
        "paginate: {page_number: {reread: true}}",
    ),
    "TotalPages": (
        "paginate: {total_pages: meta.pages}",
        "paginate: {total_pages: {from: meta.pages, param: page, first: 0, size: 100, size_param: per_page, "
        "total: meta.total, until: empty}}",
        "body: {}\nidempotent: true\npaginate: {total_pages: {field: page, size: 100, size_field: size}}",
        "paginate: {total_pages: {from_header: X-WP-TotalPages, total_header: X-WP-Total, reread: false}}",
    ),
    "Offset": (
        "paginate: {offset: {param: skip, first: 0, size: 100, size_param: limit, total: total}}",
        "key: id\nwrite: upsert\npaginate: {offset: {overlap: 1, until: empty}}",
        "body: {}\nidempotent: true\npaginate: {offset: {field: offset, size: 100, size_field: limit}}",
        "paginate: {offset: {total_header: Content-Range}}",
    ),
    "LinkHeader": (
        "paginate: link_header",
        "paginate: {link_header: {rel: next, total_header: X-Total}}",
        "paginate: {link_header: {total: meta.total}}",
    ),
    "NextUrl": (
        "paginate: {next_url: links.next}",
        "paginate: {next_url: {from: links.next, total: meta.total}}",
        "paginate: {next_url: {from: links.next, total_header: X-Total-Count}}",
    ),
    "Cursor": (
        "paginate: {cursor: {from: meta.next_cursor, param: cursor, more: meta.has_more}}",
        "paginate: {cursor: {from_header: X-Next, header: X-Cursor, total_header: X-Total-Count}}",
        "paginate: {cursor: {from: meta.next_cursor, param: cursor, total: meta.total}}",
        "body: {}\nidempotent: true\npaginate: {cursor: {from: next, field: page.after}}",
    ),
    "LastId": (
        "paginate: {last_id: {field: id, param: since_id, size: 100, size_param: limit, until: short}}",
        "paginate: {last_id: {param: after, more: has_more, total: total}}",
        "paginate: {last_id: {param: after, total_header: X-Total-Count}}",
    ),
    "HasMore": (
        "paginate: {has_more: {from: meta.more, param: page, first: 1, total: meta.total}}",
        "paginate: {has_more: {from: more, total_header: X-Total-Count}}",
    ),
    "ForEach": (
        "path: /repos/{repos.full_name}/issues\nfor_each: {resource: repos}",
        "path: /holidays/{year}/{country}\nfor_each: {values: {country: [US, FR], year: [2024, 2025]}}",
        "path: /weather/{city}\nfor_each: {file: cities.csv}",
    ),
    "Incremental": (
        "key: id\nwrite: upsert\nincremental:\n  cursor: updated_at\n  since_param: from\n  until_param: to\n"
        "  start: 2024-01-01\n  end: 2025-01-01\n  format: date\n  zone: Europe/Madrid\n  bounds: closed\n"
        "  window: 7d\n  most: 10000\n  lag: 3d\n  settle: 1h\n  on_missing: include\n  ordered: ascending",
        "path: /repos/{repos.full_name}/issues\nfor_each: {resource: repos}\nkey: id\nwrite: upsert\n"
        "incremental: {cursor: updated_at, since_param: since, start: 2024-01-01, per: repos}",
    ),
    "ErrorRule": (
        "key: id\nwrite: upsert\nincremental: {cursor: at, since_param: from, "
        "until_param: to, start: 2024-01-01, window: 7d}\n"
        "errors:\n  - {status: 200, when: error.code == 'QUOTA', do: retry}\n  - {status: [404, 410], do: skip}\n"
        "  - {header: {X-Error: expired}, do: refresh_token}\n  - {status: 400, when: \"contains(message, 'limit')\", "
        "do: split}",
    ),
    "Count": ("count: {path: /orders/count, value: count}",),
}
"""By model or section: lines of a resource."""

MARTS: dict[str, tuple[str, ...]] = {
    "Mart": (
        "marts:\n  quakes_near_cities:\n    description: one row per event, with the nearest city\n"
        "    inputs: {events: usgs.events, countries: worldbank.countries}\n"
        "    function: quake_exposure:quake_exposure\n    split_by: events\n    key: event_id\n"
        "    partition_by: month(time)\n    sort_by: time\n    expect: [{unique: event_id}, {min_rows: 1}]\n"
        "    columns: {event_id: the event's id, time: when it happened}",
        "marts:\n  country_day:\n    inputs: {city_day: marts.city_day}\n    sql: country_day.sql\n  city_day:\n"
        "    inputs: {weather: openmeteo.daily}\n    function: city_day:city_day",
    ),
}
"""By model: whole files of marts."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "Settings": (
        'data = "/var/lib/threadmill"\nlake = "s3://acme-lake/threadmill"\ntransforms = "transforms"\n'
        'log_format = "json"\nworkers = 4\nthreads = "auto"\nbatch_size = "32MB"\nmemory = "512MB"\n'
        'spool_retention = "3d"\nkept_commits = 30\ngrace = "2h"',
        'profile = "cluster"\n\n[profiles.cluster]\nengine = "dask"\nengine_address = "tcp://10.0.0.1:8786"\n\n'
        "[profiles.cluster.variables]\nSHOP_START = 2024-01-01",
        'config = "config"\nbundled_apis = true\nbundled_latency = "0ms"\nbundled_chaos = 0.2\nbundled_seed = 7\n\n'
        '[variables]\nSHOP_START = "2024-01-01"',
    ),
}
"""By model: whole files of settings."""
