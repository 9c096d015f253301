-- One row for each country and UTC day with at least one event.
SELECT
    country_code,
    any_value(country ORDER BY event_id) AS country,
    date,
    count(*) AS events,
    count(*) FILTER (mag >= 4.5) AS events_m45,
    max(mag) AS max_mag,
    min(km_to_city) AS min_km_to_city,
    max(people_100km) AS max_people_100km,
    any_value(currency ORDER BY event_id) AS currency,
    any_value(rate ORDER BY event_id) AS rate,
    any_value(rate_change_pct ORDER BY event_id) AS rate_change_pct
FROM exposure
WHERE country_code IS NOT NULL AND date IS NOT NULL
GROUP BY country_code, date
ORDER BY date, country_code
