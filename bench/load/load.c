/*
 * bench/load/load: asks an HTTP server and says what came of it, as JSON.
 *
 * usage: load [-c CONNECTIONS] [-m METHOD] [-b BODY] [-e EXPECTED] [-n IDS]
 *             [-f FIRST] [-l LATE_MS] -p [RATE:]SECONDS ... HOST PORT PATH
 *
 * Phases follow one another on the same connections. load.h says the rest.
 */
#include "load.h"

#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double
percentile_ms(const struct load_times *times, double share)
{
	size_t at = (size_t)(share * (double)times->n);

	return times->us[at < times->n ? at : times->n - 1] / 1000.0;
}

static void
print_times(const char *name, struct load_times *times)
{
	if (times->n == 0) {
		printf(", \"%s\": null", name);
		return;
	}
	qsort(times->us, times->n, sizeof(*times->us), by_size);
	printf(", \"%s\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name,
	    percentile_ms(times, 0.5), percentile_ms(times, 0.99),
	    percentile_ms(times, 1));
}

static void
print_phase(struct load_phase *p)
{
	printf("{\"seconds\": %g, \"sent\": %" PRIu64 ", \"unsent\": %" PRIu64
	       ", \"good\": %" PRIu64 ", \"refused\": %" PRIu64
	       ", \"wrong\": %" PRIu64 ", \"broken\": %" PRIu64
	       ", \"lost\": %" PRIu64 ", \"settled_ms\": %.1f",
	    p->seconds, p->due, p->unsent, p->good, p->refused, p->wrong,
	    p->broken, p->lost, (double)p->settled_us / 1000);
	print_times("good_ms", &p->good_times);
	print_times("refused_ms", &p->refused_times);
	print_times("refused_sent_ms", &p->refused_sent_times);
	printf("}\n");
}

static void
add_phase(struct load *load, const char *text)
{
	struct load_phase *phase = &load->phases[load->n_phases];
	const char *colon = strchr(text, ':');

	if (load->n_phases++ == LOAD_PHASE_MAX)
		errx(2, "more than %d phases", LOAD_PHASE_MAX);
	phase->rate = colon != NULL ? atof(text) : 0;
	phase->seconds = atof(colon != NULL ? colon + 1 : text);
	if (phase->seconds <= 0 || phase->rate < 0)
		errx(2, "-p %s is not [RATE:]SECONDS", text);
}

static void
set_option(struct load *load, int option, const char *value)
{
	switch (option) {
	case 'c':
		load->connections = strtoul(value, NULL, 10);
		break;
	case 'm':
		load->method = value;
		break;
	case 'b':
		load->body = value;
		break;
	case 'e':
		load->expect = value;
		break;
	case 'n':
		load->ids = strtoull(value, NULL, 10);
		break;
	case 'f':
		load->first = strtoull(value, NULL, 10);
		break;
	case 'l':
		load->late_us = strtoll(value, NULL, 10) * 1000;
		break;
	case 'p':
		add_phase(load, value);
		break;
	default:
		errx(2, "see the head of bench/load/load.c for what it takes");
	}
}

static void
allow_files(size_t connections)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < connections + 64)
		limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < connections + 64)
		errx(1, "%zu connections need more than the %ju files allowed",
		    connections, (uintmax_t)limit.rlim_cur);
}

int
main(int argc, char **argv)
{
	static struct load load = {.method = "GET",
	    .first = 1,
	    .connections = 1,
	    .late_us = 100000,
	    .to.sin_family = AF_INET};
	int option;

	while ((option = getopt(argc, argv, "c:m:b:e:n:f:l:p:")) != -1)
		set_option(&load, option, optarg);
	if (argc - optind != 3 || load.connections == 0 || load.n_phases == 0)
		set_option(&load, '?', NULL);
	if (inet_pton(AF_INET, argv[optind], &load.to.sin_addr) != 1)
		errx(2, "%s is not an IPv4 address", argv[optind]);
	load.to.sin_port = htons((uint16_t)strtoul(argv[optind + 1], NULL, 10));
	load.path = argv[optind + 2];
	allow_files(load.connections);
	load_run(&load);
	for (size_t i = 0; i < load.n_phases; i++)
		print_phase(&load.phases[i]);
	if (load.first_wrong[0] != '\0')
		warnx("wrong: %s", load.first_wrong);
	return 0;
}
