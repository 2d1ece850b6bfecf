/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/civil.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/fleet_check.h"
#include "scheduler/plan/fleet_tree.h"

/* Exposure is counted from a backup's consistency point to the end of the next one: what lies
 * between two slots, and the run after it. A year shows every length of a gap, those of clock
 * changes, weekends and months among them; who is due every few minutes shows them sooner.
 * STEPS_MOST is of one file: a second or two, and thousands of policies; those after it are not
 * judged. */
enum {
    RULES_MOST = 48,
    SLOTS_MOST = 2000,
    STEPS_MOST = 4000000,
    LENGTHS_MOST = 16,
    YEAR = 366 * 86400,
    HOUR = 3600
};

typedef struct Gaps {
    int64_t usual;   /* the most frequent, in seconds */
    int64_t largest; /* and where it begins */
    int64_t largest_at;
} Gaps;

typedef struct Rules {
    Cron cron[RULES_MOST];
    int64_t next[RULES_MOST];
    size_t count;
} Rules;

static void add_rule(Rules *rules, const YamlNode *at, Text source)
{
    Err err = {0};
    if (at != NULL && at->kind == YAML_SCALAR && rules->count < RULES_MOST &&
        cron_parse(at->text, source, &rules->cron[rules->count], &err))
        rules->count++;
}

/* The rules that make backups; a wrong one is told elsewhere. */
static void rules_of(const YamlNode *policy, Text source, Rules *rules)
{
    const YamlNode *several = yaml_get(policy, "schedules");
    add_rule(rules, yaml_get(policy, "schedule"), source);
    for (size_t i = 0; several != NULL && several->kind == YAML_MAP && i < several->count; i++) {
        const YamlNode *row = several->pairs[i].value;
        const YamlNode *run = yaml_get(row, "run");
        const YamlNode *enabled = yaml_get(row, "enabled");
        bool backs_up = run == NULL || text_equal(run->text, TEXT("backup"));
        bool off = enabled != NULL && text_equal(enabled->text, TEXT("false"));
        if (backs_up && !off)
            add_rule(rules, yaml_get(row, "at"), source);
    }
}

/* The next slot of any rule; each rule moves past it. */
static bool next_slot(Rules *rules, const Zone *zone, int64_t *slot)
{
    bool found = false;
    for (size_t i = 0; i < rules->count; i++)
        if (rules->next[i] != INT64_MAX && (!found || rules->next[i] < *slot)) {
            *slot = rules->next[i];
            found = true;
        }
    for (size_t i = 0; found && i < rules->count; i++)
        if (rules->next[i] == *slot && !cron_next(&rules->cron[i], zone, *slot, &rules->next[i]))
            rules->next[i] = INT64_MAX;
    return found;
}

/* False: there is nothing to judge. steps: how many are left, of every rule at each slot. */
static bool measure(Rules *rules, const Zone *zone, int64_t now_s, int64_t *steps, Gaps *out)
{
    int64_t lengths[LENGTHS_MOST];
    size_t times[LENGTHS_MOST];
    size_t count = 0;
    size_t most = 0;
    int64_t last;
    int64_t slot;
    *out = (Gaps){0};
    for (size_t i = 0; i < rules->count; i++)
        if (!cron_next(&rules->cron[i], zone, now_s, &rules->next[i]))
            rules->next[i] = INT64_MAX;
    if (!next_slot(rules, zone, &last))
        return false;
    for (int n = 0; n < SLOTS_MOST && last < now_s + YEAR && next_slot(rules, zone, &slot); n++) {
        *steps -= (int64_t)rules->count;
        int64_t gap = slot - last;
        size_t i = 0;
        while (i < count && lengths[i] != gap)
            i++;
        if (i == count && count < LENGTHS_MOST) {
            lengths[count] = gap;
            times[count++] = 0;
        }
        if (i < count && ++times[i] > most) {
            most = times[i];
            out->usual = gap;
        }
        if (gap > out->largest) {
            out->largest = gap;
            out->largest_at = last;
        }
        last = slot;
    }
    return out->largest != 0;
}

/* "24h21m", "45m", "90s": hours and minutes, seconds where there is nothing larger. */
static void add_span(Buf *out, int64_t seconds)
{
    int64_t minutes = (seconds + 30) / 60;
    if (seconds < 120)
        buf_printf(out, "%llds", (long long)seconds);
    else if (minutes < 60)
        buf_printf(out, "%lldm", (long long)minutes);
    else if (minutes % 60 == 0)
        buf_printf(out, "%lldh", (long long)(minutes / 60));
    else
        buf_printf(out, "%lldh%lldm", (long long)(minutes / 60), (long long)(minutes % 60));
}

/* The sources of a policy: the first one's name, and the slowest one's usual time. */
typedef struct Users {
    Text first, slowest;
    double seconds;
    bool by_rate; /* it was quicker so far; the policy's rate does not let it be */
} Users;

static double fact_of(const json_t *facts, Text source)
{
    return json_number_value(json_object_getn(facts, source.at, source.len));
}

/* rate: bytes a second that the policy lets a run store; 0: any. */
static Users users_of(const FleetCheck *check, Text policy, double rate)
{
    Users users = {0};
    const YamlNode *sources = yaml_get(check->root, "sources");
    for (size_t i = 0; sources != NULL && sources->kind == YAML_MAP && i < sources->count; i++) {
        const YamlPair *pair = &sources->pairs[i];
        const YamlNode *named = yaml_get(pair->value, "policy");
        if (named == NULL || !text_equal(named->text, policy))
            continue;
        double measured = fact_of(check->facts->seconds, pair->key->text);
        double limited = rate > 0 ? fact_of(check->facts->stored, pair->key->text) / rate : 0;
        double seconds = limited > measured ? limited : measured;
        if (users.first.len == 0)
            users.first = pair->key->text;
        if (seconds > users.seconds) {
            users.seconds = seconds;
            users.slowest = pair->key->text;
            users.by_rate = limited > measured;
        }
    }
    return users;
}

static void add_hint(Buf *hint, const Gaps *gaps, int64_t run_s, int64_t rpo_s)
{
    static const int hours[] = {12, 8, 6, 4, 3, 2, 1};
    int64_t worst = gaps->largest + run_s;
    int64_t step = worst >= 2 * HOUR ? HOUR : 60;
    buf_printf(hint, "use ");
    add_span(hint, worst / step * step + step);
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++)
        if (hours[i] * (int64_t)HOUR + run_s <= rpo_s && hours[i] * (int64_t)HOUR < gaps->usual) {
            if (hours[i] == 1)
                buf_printf(hint, ", or schedule \"H * * * *\"");
            else
                buf_printf(hint, ", or schedule \"H H/%d * * *\"", hours[i]);
            return;
        }
}

static void tell(FleetCheck *check, const YamlNode *rpo, Text policy, const Gaps *gaps,
                 const Users *users, int64_t rpo_s, const Zone *zone)
{
    scoped(buf_free) Buf text = {0};
    scoped(buf_free) Buf hint = {0};
    int64_t run_s = (int64_t)users->seconds;
    bool often = gaps->usual + run_s >= rpo_s;
    int64_t gap = often ? gaps->usual : gaps->largest;
    buf_printf(&text, "policies.%.*s: ", TEXT_ARG(policy));
    add_span(&text, gap);
    buf_printf(&text, " between slots");
    if (!often) {
        Civil day = civil_of(gaps->largest_at + zone_offset(zone, gaps->largest_at));
        buf_printf(&text, " (from %04d-%02d-%02d on)", (int)day.year, day.month, day.day);
    }
    if (users->slowest.len == 0) {
        buf_printf(&text, " and the run after them > rpo ");
    } else {
        buf_printf(&text, " + ");
        add_span(&text, run_s);
        buf_printf(&text, " %s (%.*s) = ", users->by_rate ? "at its rate" : "usual run",
                   TEXT_ARG(users->slowest));
        add_span(&text, gap + run_s);
        buf_printf(&text, " > rpo ");
    }
    add_span(&text, rpo_s);
    add_hint(&hint, gaps, run_s, rpo_s);
    FLEET_WARNING(check, rpo, "rpo-unreachable", buf_cstr(&hint), "%s", buf_cstr(&text));
}

static Zone *zone_of(const FleetCheck *check, const YamlNode *policy)
{
    Zone *zone = NULL;
    Err err = {0};
    const YamlNode *named = yaml_get(policy, "timezone");
    if (named == NULL)
        named = fleet_tree_at(check->root, "defaults", "timezone", NULL);
    bool told = named != NULL && named->kind == YAML_SCALAR;
    return zone_open(&zone, told ? named->text : TEXT("UTC"), &err) ? zone : NULL;
}

void fleet_check_physics(FleetCheck *check)
{
    const YamlNode *policies = yaml_get(check->root, "policies");
    const json_t *walked = json_object_get(check->walked, "policies");
    int64_t steps = STEPS_MOST;
    if (check->facts == NULL || check->facts->now_s == 0 || policies == NULL ||
        policies->kind != YAML_MAP)
        return;
    for (size_t i = 0; i < policies->count && steps > 0; i++) {
        const YamlPair *pair = &policies->pairs[i];
        const json_t *policy = json_object_getn(walked, pair->key->text.at, pair->key->text.len);
        const json_t *rpo = json_object_get(json_object_get(policy, "objectives"), "rpo");
        int64_t rpo_s = json_integer_value(rpo) / 1000;
        Rules rules = {0};
        Gaps gaps;
        Zone *zone = rpo == NULL ? NULL : zone_of(check, pair->value);
        if (zone == NULL)
            continue;
        const json_t *rate = json_object_get(json_object_get(policy, "limits"), "rate");
        Users users = users_of(check, pair->key->text, json_number_value(rate));
        rules_of(pair->value, users.first, &rules);
        if (measure(&rules, zone, check->facts->now_s, &steps, &gaps) &&
            gaps.largest + (int64_t)users.seconds >= rpo_s)
            tell(check, fleet_tree_at(pair->value, "objectives", "rpo", NULL), pair->key->text,
                 &gaps, &users, rpo_s, zone);
        zone_free(zone);
    }
}
