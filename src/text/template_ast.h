// The tree of a template and its parser.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template_value.h"

namespace hone::text {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  kConstant,     // value
  kName,         // name
  kList,         // args
  kTuple,        // args
  kDict,         // args: key, value, key, value, ...
  kAttribute,    // args[0].name
  kItem,         // args[0][args[1]]
  kSlice,        // args[0][args[1]:args[2]:args[3]], absent parts are null
  kCall,         // args[0](args[1..], kwargs)
  kFilter,       // args[0] | name(args[1..], kwargs); args[0] is null in a filter block
  kTest,         // args[0] is name(args[1..], kwargs)
  kNot,
  kNegate,
  kPlus,
  kBinary,       // args[0] name args[1]; name is + - * / // % **
  kConcat,       // args joined as texts
  kCompare,      // args[0] ops[0] args[1] ops[1] args[2] ...
  kAnd,
  kOr,
  kConditional,  // args: condition, then, else (null: undefined)
};

struct Expr {
  ExprKind kind;
  int line = 0;
  int depth = 1;
  std::string name;
  Value value;
  std::vector<ExprPtr> args;
  std::vector<std::pair<std::string, ExprPtr>> kwargs;
  std::vector<std::string> ops;
  ExprPtr star, star_star;  // *args and **kwargs of a call
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind { kText, kOutput, kIf, kFor, kSet, kSetBlock, kMacro, kCallBlock, kFilterBlock, kWith, kScope, kBreak, kContinue };

struct Parameter {
  std::string name;
  ExprPtr fallback;  // null: none
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  std::string text;                                 // text; macro's name
  ExprPtr expr;                                     // output, iterated list, assigned value, call, filter chain
  ExprPtr condition;                                // for ... if
  bool recursive = false, uses_loop = false;
  std::vector<std::pair<ExprPtr, Body>> branches;   // if and elif
  std::vector<ExprPtr> targets;                     // names, attributes of namespaces; several: unpacked
  bool unpack = false;
  std::vector<std::pair<std::string, ExprPtr>> bindings;  // with
  std::vector<Parameter> parameters;                // macro, call
  Body body, else_body;
};

// Error(kBadInput) with the line for syntax errors; Error(kUnsupported) for tags the subset lacks.
Body parse_template(std::string_view source);

}  // namespace hone::text
