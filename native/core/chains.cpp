#include "core/chains.h"

#include <algorithm>
#include <functional>
#include <queue>

#include "core/ops/chain.h"
#include "core/ops/fused_matmul.h"

namespace tandem {
namespace {

using ops::Chain;
using ops::ChainStep;

constexpr uint32_t kOrdered = kEffect | kReadsState | kWritesState;

/// Groups of nodes that will be one, by the number of any of their nodes.
class Groups {
 public:
  explicit Groups(size_t nodes) : group_(nodes), members_(nodes) {
    for (size_t i = 0; i < nodes; ++i) {
      group_[i] = i;
      members_[i] = {i};
    }
  }
  [[nodiscard]] size_t of(size_t node) const { return group_[node]; }
  /// Ascending.
  [[nodiscard]] const std::vector<size_t>& members(size_t group) const { return members_[group]; }
  [[nodiscard]] std::vector<size_t> both(size_t a, size_t b) const {
    std::vector<size_t> all;
    std::merge(members_[a].begin(), members_[a].end(), members_[b].begin(), members_[b].end(),
               std::back_inserter(all));
    return all;
  }
  void join(size_t to, size_t from) {
    members_[to] = both(to, from);
    for (const size_t node : members_[from]) group_[node] = to;
    members_[from].clear();
  }

 private:
  std::vector<size_t> group_;
  std::vector<std::vector<size_t>> members_;
};

class ChainFuser {
 public:
  explicit ChainFuser(Graph& graph)
      : graph_(graph),
        uses_(graph.count_uses()),
        before_(graph.nodes.size()),
        groups_(graph.nodes.size()),
        seen_(graph.nodes.size(), 0) {}

  void run() {
    find_order();
    bool any = false;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!can_join(i)) continue;
      for (const ValueId id : graph_.nodes[i].inputs) {
        const Node* source = graph_.producer(id);
        if (source == nullptr) continue;
        const auto from = static_cast<size_t>(graph_.value(id).index);
        if (!can_join(from) || !join(groups_.of(i), groups_.of(from))) continue;
        any = true;
      }
    }
    if (any) rebuild();
  }

 private:
  [[nodiscard]] const Node& node(size_t i) const { return graph_.nodes[i]; }

  /// For each node those that must run before it: what it reads, and nodes with effects in their
  /// order.
  void find_order() {
    size_t last = graph_.nodes.size();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId id : node(i).inputs) {
        if (id != kNoValue && graph_.value(id).kind == ValueKind::kNode)
          before_[i].push_back(static_cast<size_t>(graph_.value(id).index));
      }
      const OpInfo& op = info(node(i).op);
      if ((op.flags & kOrdered) == 0 && op.writes == 0) continue;
      if (last < i) before_[i].push_back(last);
      last = i;
      for (size_t k = 0; k < node(i).inputs.size() && k < 32; ++k) {
        if ((op.writes >> k & 1U) != 0) order_readers(i, node(i).inputs[k]);
      }
    }
  }

  /// What reads a value that node `writer` changes stays on its side of it.
  void order_readers(size_t writer, ValueId written) {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const auto& inputs = node(i).inputs;
      if (i == writer || std::find(inputs.begin(), inputs.end(), written) == inputs.end()) continue;
      if (i < writer) {
        before_[writer].push_back(i);
      } else {
        before_[i].push_back(writer);
      }
    }
  }

  [[nodiscard]] bool can_join(size_t i) const {
    const Node& n = node(i);
    if (ops::chain_operands(n.op) == 0 || n.outputs.size() != 1 || n.quantization != nullptr)
      return false;
    // `where` may choose between integers, which steps do not hold
    const Tensor& result = graph_.tensor(n.outputs[0]);
    return result.dtype == DType::kFloat32 && result.numel > 0 &&
           uses_[static_cast<size_t>(n.outputs[0])] > 0;
  }

  [[nodiscard]] const Tensor& shape(size_t group) const {
    return graph_.tensor(node(groups_.members(group).front()).outputs[0]);
  }

  bool join(size_t to, size_t from) {
    if (to == from || !same_shape(shape(to), shape(from))) return false;
    const std::vector<size_t> members = groups_.both(to, from);
    if (members.size() > Chain::kMaxSteps ||
        inputs_of(members).size() > static_cast<size_t>(Chain::kMaxInputs))
      return false;
    if (leads(from, to) || leads(to, from)) return false;
    groups_.join(to, from);
    return true;
  }

  /// Whether a way leads from group `from` to group `to` that passes through others.
  [[nodiscard]] bool leads(size_t from, size_t to) {
    ++round_;
    std::vector<size_t> open;
    const auto visit = [&](size_t group) {
      for (const size_t member : groups_.members(group)) {
        for (const size_t earlier : before_[member]) {
          const size_t next = groups_.of(earlier);
          if (next == to || seen_[next] == round_ || (group == to && next == from)) continue;
          seen_[next] = round_;
          open.push_back(next);
        }
      }
    };
    visit(to);
    while (!open.empty()) {
      const size_t group = open.back();
      open.pop_back();
      if (group == from) return true;
      visit(group);
    }
    return false;
  }

  [[nodiscard]] static bool contains(const std::vector<size_t>& members, size_t i) {
    return std::binary_search(members.begin(), members.end(), i);
  }

  [[nodiscard]] bool is_within(ValueId id, const std::vector<size_t>& members) const {
    const Value& value = graph_.value(id);
    return value.kind == ValueKind::kNode && contains(members, static_cast<size_t>(value.index));
  }

  /// What a group reads that it does not compute, each once.
  [[nodiscard]] std::vector<ValueId> inputs_of(const std::vector<size_t>& members) const {
    std::vector<ValueId> inputs;
    for (const size_t i : members) {
      for (const ValueId id : node(i).inputs) {
        if (!is_within(id, members) && std::find(inputs.begin(), inputs.end(), id) == inputs.end())
          inputs.push_back(id);
      }
    }
    return inputs;
  }

  /// How often a group reads what one of its nodes computes.
  [[nodiscard]] int uses_within(ValueId id, const std::vector<size_t>& members) const {
    int64_t uses = 0;
    for (const size_t i : members)
      uses += std::count(node(i).inputs.begin(), node(i).inputs.end(), id);
    return static_cast<int>(uses);
  }

  [[nodiscard]] Node chain_of(const std::vector<size_t>& members) const {
    Node chain{Op::chain, make_attributes(Op::chain, {}), inputs_of(members), {}};
    auto& attributes = chain.attrs<Chain::Attributes>();
    chain.outputs = {node(members.back()).outputs[0]};
    for (size_t k = 0; k < members.size(); ++k) {
      const Node& member = node(members[k]);
      ChainStep& step = attributes.steps[attributes.count++];
      step.op = member.op;
      step.attributes = member.attrs<ElementwiseAttributes>();
      for (size_t i = 0; i < member.inputs.size(); ++i)
        step.operands[i] = place_of(member.inputs[i], members, chain.inputs);
      const ValueId result = member.outputs[0];
      const bool is_last = k + 1 == members.size();
      const bool is_read = uses_[static_cast<size_t>(result)] > uses_within(result, members);
      if (is_last || is_read) attributes.outputs |= 1U << k;
      if (is_read && !is_last) chain.outputs.push_back(result);
    }
    return chain;
  }

  [[nodiscard]] int16_t place_of(ValueId id, const std::vector<size_t>& members,
                                 const std::vector<ValueId>& inputs) const {
    if (is_within(id, members)) {
      const auto index = static_cast<size_t>(graph_.value(id).index);
      return static_cast<int16_t>(std::lower_bound(members.begin(), members.end(), index) -
                                  members.begin());
    }
    return static_cast<int16_t>(-1 -
                                (std::find(inputs.begin(), inputs.end(), id) - inputs.begin()));
  }

  /// Groups in an order that keeps what must come before what, and otherwise that of their last
  /// nodes.
  [[nodiscard]] std::vector<size_t> order() const {
    const size_t count = graph_.nodes.size();
    std::vector<std::vector<size_t>> after(count);
    std::vector<size_t> missing(count, 0);
    for (size_t i = 0; i < count; ++i) {
      for (const size_t earlier : before_[i]) {
        const size_t from = groups_.of(earlier);
        const size_t to = groups_.of(i);
        if (from == to) continue;
        after[from].push_back(to);
        ++missing[to];
      }
    }
    using Entry = std::pair<size_t, size_t>;  // last node, group
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    const auto offer = [&](size_t group) { ready.emplace(groups_.members(group).back(), group); };
    for (size_t i = 0; i < count; ++i) {
      if (groups_.of(i) == i && missing[i] == 0) offer(i);
    }
    std::vector<size_t> sorted;
    while (!ready.empty()) {
      const size_t group = ready.top().second;
      ready.pop();
      sorted.push_back(group);
      for (const size_t next : after[group]) {
        if (--missing[next] == 0) offer(next);
      }
    }
    return sorted;
  }

  void rebuild() {
    std::vector<Node> nodes;
    for (const size_t group : order()) {
      const std::vector<size_t>& members = groups_.members(group);
      nodes.push_back(members.size() > 1 ? chain_of(members) : node(members.front()));
    }
    graph_.nodes = std::move(nodes);
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId id : graph_.nodes[i].outputs)
        graph_.values[static_cast<size_t>(id)].index = static_cast<int32_t>(i);
    }
  }

  Graph& graph_;
  std::vector<int> uses_;
  std::vector<std::vector<size_t>> before_;  ///< by node
  Groups groups_;
  std::vector<int> seen_;  ///< by group: the last search that came by
  int round_ = 0;
};

}  // namespace

void fuse_chains(Graph& graph) { ChainFuser(graph).run(); }

std::string kernel_name(const Node& node) {
  if (node.op == Op::fusedMatmul && node.inputs.size() > ops::FusedMatMul::kResidual)
    return std::string(name(node.op)) + "(residual)";
  if (node.op != Op::chain) return name(node.op);
  const auto& chain = node.attrs<Chain::Attributes>();
  std::string text = "chain(";
  for (int i = 0; i < chain.count; ++i) {
    if (i > 0) text += ' ';
    text += name(chain.steps[i].op);
  }
  return text + ')';
}

}  // namespace tandem
