// Makers of the verbs, each defined in verb_<name>.cpp.
#pragma once

#include "app/verb.h"

namespace hone::app {

std::unique_ptr<Verb> make_optimize();
std::unique_ptr<Verb> make_quantize();
std::unique_ptr<Verb> make_convert();
std::unique_ptr<Verb> make_adapter();
std::unique_ptr<Verb> make_imatrix();
std::unique_ptr<Verb> make_inspect();
std::unique_ptr<Verb> make_run();
std::unique_ptr<Verb> make_evaluate();
std::unique_ptr<Verb> make_bench();
std::unique_ptr<Verb> make_pull();
std::unique_ptr<Verb> make_tokenize();
std::unique_ptr<Verb> make_template();
std::unique_ptr<Verb> make_completion();

}  // namespace hone::app
