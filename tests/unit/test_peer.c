/*
 * Who a client is: addresses, networks, what proxies say; how much each has.
 */
#include "common/base/err.h"
#include "roles/http/clients.h"
#include "roles/http/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <check.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const struct {
	const char *text;
	const char *is; /* NULL: no address */
} addresses[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"192.0.2.1:80", "192.0.2.1"},
    {"192.0.2.1:_hidden", "192.0.2.1"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"::ffff:c000:201", "192.0.2.1"},
    {"2001:DB8:0::1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"[2001:db8::1]:4711", "2001:db8::1"},
    {"[::ffff:192.0.2.1]:1", "192.0.2.1"},
    {"::", "::"},
    {"0.0.0.0", "0.0.0.0"},
    {"2001:db8::1:80", "2001:db8::1:80"},
    {"", NULL},
    {"unknown", NULL},
    {"_hidden", NULL},
    {"unix", NULL},
    {"192.0.2", NULL},
    {"192.0.2.1.", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2.1:", NULL},
    {"192.0.2.1:x", NULL},
    {"192.0.2.1:80:80", NULL},
    {"192.0.2.1/32", NULL},
    {" 192.0.2.1", NULL},
    {"[192.0.2.1]", NULL},
    {"[2001:db8::1", NULL},
    {"[2001:db8::1]80", NULL},
    {"[2001:db8::1]:", NULL},
    {"[]", NULL},
    {"2001:db8::1%eth0", NULL},
    {"fe80::1]", NULL},
    {"localhost:80", NULL},
    {"1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", NULL},
};

START_TEST(an_address_is_read_with_or_without_a_port)
{
	char text[PEER_TEXT_BYTES];
	struct peer peer;
	bool good =
	    peer_parse(addresses[_i].text, strlen(addresses[_i].text), &peer);

	ck_assert_int_eq(good, addresses[_i].is != NULL);
	if (!good)
		return;
	peer_text(&peer, text);
	ck_assert_str_eq(text, addresses[_i].is);
}
END_TEST

static struct peer
peer_at(const char *text)
{
	struct peer peer = {.local = true};

	if (strcmp(text, "unix") != 0)
		ck_assert(peer_parse(text, strlen(text), &peer));
	return peer;
}

static const struct {
	const char *net;
	const char *peer;
	bool in;
} networks[] = {
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.0.0.0/8", "::ffff:10.1.1.1", true},
    {"::ffff:10.0.0.0/104", "10.1.1.1", true},
    {"10.1.2.3", "10.1.2.3", true},
    {"10.1.2.3", "10.1.2.2", false},
    {"10.1.2.2/31", "10.1.2.3", true},
    {"10.1.2.2/31", "10.1.2.4", false},
    {"192.168.128.0/17", "192.168.127.255", false},
    {"192.168.128.0/17", "192.168.128.1", true},
    {"0.0.0.0/0", "255.255.255.255", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"::/0", "10.0.0.1", false},
    {"::ffff:0:0/96", "10.0.0.1", true},
    {"::1", "::1", true},
    {"::1", "::2", false},
    {"2001:db8::/33", "2001:db8:7fff::", true},
    {"2001:db8::/33", "2001:db8:8000::", false},
    {"::/0", "unix", false},
    {"unix", "unix", true},
    {"unix", "127.0.0.1", false},
};

START_TEST(a_network_has_its_addresses_and_no_others)
{
	struct err err = {"", ""};
	struct peer_nets *nets = peer_nets_new(&networks[_i].net, 1, &err);
	struct peer peer = peer_at(networks[_i].peer);

	ck_assert_msg(nets != NULL, "%s", err.message);
	ck_assert_int_eq(peer_trusted(nets, &peer), networks[_i].in);
	peer_nets_free(&nets);
	ck_assert_ptr_null(nets);
}
END_TEST

static const struct {
	const char *text;
	const char *says;
} bad_networks[] = {
    {"", "neither an address nor"},
    {"x", "neither an address nor"},
    {"10.0.0.0:80", "neither an address nor"},
    {"[::1]", "neither an address nor"},
    {"10.0.0.0/", "stands 0 to 32"},
    {"10.0.0.0/33", "stands 0 to 32"},
    {"10.0.0.0/-1", "stands 0 to 32"},
    {"10.0.0.0/8 ", "stands 0 to 32"},
    {"10.0.0.0/08", "stands 0 to 32"},
    {"10.0.0.0/4294967304", "stands 0 to 32"},
    {"10.0.0.0/8/8", "stands 0 to 32"},
    {"::/129", "stands 0 to 128"},
    {"10.0.0.1/8", "bits behind its first 8"},
    {"10.0.0.1/31", "bits behind its first 31"},
    {"2001:db8::1/64", "bits behind its first 64"},
    {"/8", "neither an address nor"},
    {"UNIX", "neither an address nor"},
};

START_TEST(a_bad_network_is_refused_with_words)
{
	const char *texts[] = {"unix", "::1", bad_networks[_i].text};
	struct err err = {"", ""};

	ck_assert_ptr_null(peer_nets_new(texts, 3, &err));
	ck_assert_msg(strstr(err.message, bad_networks[_i].says) != NULL, "%s",
	    err.message);
}
END_TEST

/* The proxy at 10.0.0.1 says so; 10/8 and fd00::/8 are trusted. */
static const struct {
	const char *values[3]; /* of one header each */
	const char *client;
} forwarded_for[] = {
    {{"1.2.3.4"}, "1.2.3.4"},
    {{""}, "10.0.0.1"},
    {{" , ,"}, "10.0.0.1"},
    {{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
    {{"6.6.6.6,1.2.3.4 , 10.0.0.2,10.0.0.3"}, "1.2.3.4"},
    {{"6.6.6.6", "1.2.3.4", "10.0.0.2"}, "1.2.3.4"},
    {{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
    {{"1.2.3.4, unknown"}, "10.0.0.1"},
    {{"1.2.3.4, unknown, 10.0.0.2"}, "10.0.0.2"},
    {{"1.2.3.4, unknown, 10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
    {{"unknown, 1.2.3.4, 10.0.0.2"}, "1.2.3.4"},
    {{"1.2.3.4;5.6.7.8"}, "10.0.0.1"},
    {{"\t2001:db8::1\t, fd00::1"}, "2001:db8::1"},
    {{"[2001:db8::1]:80, 10.0.0.2:1234"}, "2001:db8::1"},
    {{"1.2.3.4,,10.0.0.2,"}, "1.2.3.4"},
};

static const struct {
	const char *values[3];
	const char *client;
} forwarded[] = {
    {{"for=1.2.3.4"}, "1.2.3.4"},
    {{"For=\"1.2.3.4:80\";proto=http;by=10.0.0.1"}, "1.2.3.4"},
    {{"proto=https ; for=1.2.3.4 ; host=x"}, "1.2.3.4"},
    {{"for=6.6.6.6, for=\"[2001:db8::1]:4711\""}, "2001:db8::1"},
    {{"for=6.6.6.6, for=1.2.3.4;by=x, for=10.0.0.2"}, "1.2.3.4"},
    {{"for=6.6.6.6", "for=1.2.3.4, for=10.0.0.2"}, "1.2.3.4"},
    {{"for=\"\\1.2.3.4\""}, "1.2.3.4"},
    {{"for=6.6.6.6;host=\"a,b\\\";for=7.7.7.7\", for=10.0.0.2"}, "6.6.6.6"},
    {{""}, "10.0.0.1"},
    {{",,"}, "10.0.0.1"},
    /* Hidden on purpose: nobody is believed who stands before it. */
    {{"for=6.6.6.6, for=unknown"}, "10.0.0.1"},
    {{"for=6.6.6.6, for=_secret, for=10.0.0.2"}, "10.0.0.2"},
    {{"for=6.6.6.6, for=_secret;proto=http, for=10.0.0.2"}, "10.0.0.2"},
    {{"for=6.6.6.6, for=unknown;for=1.2.3.4"}, "10.0.0.1"},
    {{"for=6.6.6.6, proto=http"}, "10.0.0.1"},
    /* Malformed. */
    {{"for=6.6.6.6, for"}, "10.0.0.1"},
    {{"for=6.6.6.6, for=1.2.3.4;for=1.2.3.5"}, "10.0.0.1"},
    {{"for=6.6.6.6, for=1.2.3.4;"}, "10.0.0.1"},
    {{"for=6.6.6.6, for =1.2.3.4"}, "10.0.0.1"},
    {{"for=6.6.6.6, =1.2.3.4"}, "10.0.0.1"},
    {{"for=6.6.6.6 for=1.2.3.4"}, "10.0.0.1"},
    /* A client's quote that swallows what a proxy adds. */
    {{"for=6.6.6.6;x=\", for=1.2.3.4"}, "10.0.0.1"},
    {{"for=6.6.6.6;x=\", for=\"[2001:db8::1]\""}, "10.0.0.1"},
    {{"for=\"6.6.6.6, for=\"[2001:db8::1]\", for=10.0.0.2"}, "10.0.0.1"},
    {{"for=6.6.6.6;x=\"\\, for=1.2.3.4"}, "10.0.0.1"},
    {{"for=6.6.6.6;x=\"", "for=1.2.3.4"}, "1.2.3.4"},
    {{"for=\"1.2.3.4"}, "10.0.0.1"},
    {{"for=\"1.2.3.4\\"}, "10.0.0.1"},
};

static void
check_chain(
    void (*read)(struct peer_chain *chain, const char *value, size_t length),
    const char *const *values, const char *client)
{
	static const char *const trusted[] = {"10.0.0.0/8", "fd00::/8"};
	struct err err;
	struct peer_nets *nets = peer_nets_new(trusted, 2, &err);
	struct peer proxy = peer_at("10.0.0.1"), found;
	char text[PEER_TEXT_BYTES];
	struct peer_chain chain;

	peer_chain_start(&chain, nets);
	for (int i = 0; i < 3 && values[i] != NULL; i++)
		read(&chain, values[i], strlen(values[i]));
	peer_chain_end(&chain, &proxy, &found);
	peer_text(&found, text);
	ck_assert_str_eq(text, client);
	peer_nets_free(&nets);
}

START_TEST(x_forwarded_for_is_read_from_the_right)
{
	check_chain(peer_chain_forwarded_for, forwarded_for[_i].values,
	    forwarded_for[_i].client);
}
END_TEST

START_TEST(forwarded_is_read_from_the_right)
{
	check_chain(
	    peer_chain_forwarded, forwarded[_i].values, forwarded[_i].client);
}
END_TEST

/* What a proxy says of how the client came. `protos` are X-Forwarded-Proto;
 * without them it is what the client's element in Forwarded says. */
static const struct {
	const char *addresses; /* X-Forwarded-For, or Forwarded if it has = */
	const char *protos[2];
	enum scheme is;
} schemes[] = {
    {"", {"https"}, SCHEME_HTTPS},
    {"", {"HTTP"}, SCHEME_HTTP},
    {"", {NULL}, SCHEME_UNKNOWN},
    {"", {" , "}, SCHEME_UNKNOWN},
    {"", {"wss"}, SCHEME_UNKNOWN},
    {"", {"httpsx"}, SCHEME_UNKNOWN},
    {"1.2.3.4", {"https"}, SCHEME_HTTPS},
    /* The client sent the first one, and the proxy added the second. */
    {"1.2.3.4", {"https, http"}, SCHEME_HTTP},
    {"1.2.3.4", {"https", "http"}, SCHEME_HTTP},
    {"6.6.6.6, 1.2.3.4", {"http,, \thttps\t,"}, SCHEME_HTTPS},
    /* Two proxies that add each, and two that pass on. */
    {"1.2.3.4, 10.0.0.2", {"https, http"}, SCHEME_HTTPS},
    {"1.2.3.4, 10.0.0.2", {"http", "https, http"}, SCHEME_HTTPS},
    {"1.2.3.4, 10.0.0.2", {"https"}, SCHEME_HTTPS},
    {"1.2.3.4, 10.0.0.3, 10.0.0.2", {"https, http"}, SCHEME_HTTPS},
    {"10.0.0.3, 10.0.0.2", {"http, https, http"}, SCHEME_HTTPS},
    {"1.2.3.4, 10.0.0.2", {"http, junk, http"}, SCHEME_UNKNOWN},
    {"1.2.3.4, unknown", {"https, http"}, SCHEME_HTTP},
    {"1.2.3.4, unknown, 10.0.0.2", {"https, http"}, SCHEME_HTTP},
    {"for=1.2.3.4;proto=https", {NULL}, SCHEME_HTTPS},
    {"for=1.2.3.4;proto=https", {"http"}, SCHEME_HTTP},
    {"Proto=\"HTTPS\";for=1.2.3.4", {NULL}, SCHEME_HTTPS},
    {"for=1.2.3.4", {NULL}, SCHEME_UNKNOWN},
    {"for=6.6.6.6;proto=https, for=1.2.3.4;proto=http", {NULL}, SCHEME_HTTP},
    {"for=1.2.3.4;proto=https, for=10.0.0.2;proto=http", {NULL}, SCHEME_HTTPS},
    {"for=1.2.3.4;proto=https, for=10.0.0.2", {"http, http"}, SCHEME_HTTP},
    {"for=1.2.3.4;proto=https;proto=http", {NULL}, SCHEME_UNKNOWN},
    /* A client that is not named. */
    {"for=unknown;proto=https", {NULL}, SCHEME_HTTPS},
    {"proto=https", {NULL}, SCHEME_HTTPS},
    {"for=6.6.6.6;proto=https, for=1.2.3.4", {NULL}, SCHEME_UNKNOWN},
    {"for=6.6.6.6;proto=https, for", {NULL}, SCHEME_UNKNOWN},
    {"proto=https;for=\"1.2.3.4", {NULL}, SCHEME_UNKNOWN},
};

START_TEST(a_scheme_is_that_of_the_clients_proxy)
{
	static const char *const trusted[] = {"10.0.0.0/8"};
	const char *said = schemes[_i].addresses;
	struct err err;
	struct peer_nets *nets = peer_nets_new(trusted, 1, &err);
	struct scheme_list list = {0};
	struct peer_chain chain;

	peer_chain_start(&chain, nets);
	if (strchr(said, '=') != NULL)
		peer_chain_forwarded(&chain, said, strlen(said));
	else
		peer_chain_forwarded_for(&chain, said, strlen(said));
	for (int i = 0; i < 2 && schemes[_i].protos[i] != NULL; i++)
		scheme_list_add(&list, schemes[_i].protos[i],
		    strlen(schemes[_i].protos[i]));
	ck_assert_int_eq(peer_scheme(&chain, &list), schemes[_i].is);
	peer_nets_free(&nets);
}
END_TEST

START_TEST(of_many_schemes_the_nearest_are_kept)
{
	struct scheme_list list = {0};

	for (int i = 0; i < 100; i++)
		scheme_list_add(
		    &list, i % 2 == 0 ? "http" : "https", 4 + i % 2);
	ck_assert_int_eq(scheme_list_at(&list, 0), SCHEME_HTTPS);
	ck_assert_int_eq(scheme_list_at(&list, 1), SCHEME_HTTP);
	ck_assert_int_eq(scheme_list_at(&list, 31), SCHEME_HTTP);
	ck_assert_int_eq(scheme_list_at(&list, 1000), SCHEME_HTTP);
}
END_TEST

START_TEST(a_socket_has_a_peer)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_storage other = {.ss_family = AF_UNIX};
	char text[PEER_TEXT_BYTES];
	struct peer peer;

	ck_assert_int_eq(inet_pton(AF_INET, "192.0.2.1", &in.sin_addr), 1);
	peer_of_sockaddr((const struct sockaddr *)&in, &peer);
	peer_text(&peer, text);
	ck_assert_str_eq(text, "192.0.2.1");
	ck_assert_int_eq(
	    inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6.sin6_addr), 1);
	peer_of_sockaddr((const struct sockaddr *)&in6, &peer);
	ck_assert(peer_is_v4(&peer));
	peer_of_sockaddr((const struct sockaddr *)&other, &peer);
	peer_text(&peer, text);
	ck_assert_str_eq(text, "unix");
}
END_TEST

START_TEST(each_client_has_its_own_bound)
{
	struct clients *clients = clients_new();
	struct peer a = peer_at("192.0.2.1"), b = peer_at("192.0.2.2");

	ck_assert(clients_enter(clients, &a, CLIENTS_CONNECTIONS, 2));
	ck_assert(clients_enter(clients, &a, CLIENTS_CONNECTIONS, 2));
	ck_assert(!clients_enter(clients, &a, CLIENTS_CONNECTIONS, 2));
	ck_assert(clients_enter(clients, &b, CLIENTS_CONNECTIONS, 2));
	ck_assert(clients_enter(clients, &a, CLIENTS_REQUESTS, 1));
	ck_assert(clients_enter(clients, &a, CLIENTS_REQUESTS, 0));
	clients_leave(clients, &a, CLIENTS_CONNECTIONS);
	ck_assert(clients_enter(clients, &a, CLIENTS_CONNECTIONS, 2));
	clients_leave(clients, &a, CLIENTS_CONNECTIONS);
	clients_leave(clients, &a, CLIENTS_CONNECTIONS);
	clients_leave(clients, &b, CLIENTS_CONNECTIONS);
	clients_leave(clients, &a, CLIENTS_REQUESTS);
	clients_leave(clients, &a, CLIENTS_REQUESTS);
	clients_free(&clients);
}
END_TEST

START_TEST(a_64_of_ipv6_is_one_client_and_many_find_their_place)
{
	struct clients *clients = clients_new();
	struct peer peer = peer_at("2001:db8::1"),
		    same = peer_at("2001:db8::2");
	struct peer other = peer_at("2001:db8:0:1::1"), local = peer_at("unix");

	ck_assert(clients_enter(clients, &peer, CLIENTS_REQUESTS, 1));
	ck_assert(!clients_enter(clients, &same, CLIENTS_REQUESTS, 1));
	ck_assert(clients_enter(clients, &other, CLIENTS_REQUESTS, 1));
	ck_assert(clients_enter(clients, &local, CLIENTS_REQUESTS, 1));
	ck_assert(!clients_enter(clients, &local, CLIENTS_REQUESTS, 1));
	for (unsigned i = 0; i < 5000; i++) {
		peer.ip[0] = 0xfd;
		memcpy(peer.ip + 1, &i, 4);
		ck_assert(clients_enter(clients, &peer, CLIENTS_REQUESTS, 1));
	}
	for (unsigned i = 0; i < 5000; i++) {
		memcpy(peer.ip + 1, &i, 4);
		clients_leave(clients, &peer, CLIENTS_REQUESTS);
	}
	clients_leave(clients, &same, CLIENTS_REQUESTS);
	clients_leave(clients, &other, CLIENTS_REQUESTS);
	clients_leave(clients, &local, CLIENTS_REQUESTS);
	clients_free(&clients);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("peer");
	TCase *tc = tcase_create("peer");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(
	    tc, an_address_is_read_with_or_without_a_port, 0, COUNT(addresses));
	tcase_add_loop_test(
	    tc, a_network_has_its_addresses_and_no_others, 0, COUNT(networks));
	tcase_add_loop_test(
	    tc, a_bad_network_is_refused_with_words, 0, COUNT(bad_networks));
	tcase_add_loop_test(tc, x_forwarded_for_is_read_from_the_right, 0,
	    COUNT(forwarded_for));
	tcase_add_loop_test(
	    tc, forwarded_is_read_from_the_right, 0, COUNT(forwarded));
	tcase_add_loop_test(
	    tc, a_scheme_is_that_of_the_clients_proxy, 0, COUNT(schemes));
	tcase_add_test(tc, of_many_schemes_the_nearest_are_kept);
	tcase_add_test(tc, a_socket_has_a_peer);
	tcase_add_test(tc, each_client_has_its_own_bound);
	tcase_add_test(
	    tc, a_64_of_ipv6_is_one_client_and_many_find_their_place);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
