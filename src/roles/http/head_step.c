/*
 * Refuses requests whose end is in doubt. See head.h.
 *
 * h2o takes the input away when the answer has been written: until then it
 * begins with this request's head, as it came but for the case of the names.
 */
#include "roles/http/head.h"

#include "roles/http/answer.h"
#include "roles/http/request.h"

bool
head_step(struct request *r)
{
	h2o_buffer_t *input = r->conn->sock->input;
	struct head head;
	const char *fault = head_check(input->bytes, input->size, &head);

	/* h2o reads chunks more kindly than the standard, and nothing is left
	 * of how they were written: what follows them is not read. */
	if (fault != NULL || head.chunked)
		r->req->http1_is_persistent = 0;
	if (fault != NULL)
		answer_error(r->req, 400, fault);
	return fault == NULL;
}
