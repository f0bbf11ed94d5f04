using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;

namespace Blkring.Generators.Parsing;

/// <summary>Checks that every name is declared once, and that no two names are the same in C#.</summary>
internal static class NameChecker
{
    public static void Check(ProtocolSpec spec, ProblemList problems)
    {
        if (spec.Abis.Count == 0)
            problems.Add(Descriptors.NoAbi, spec, null, spec.Name);

        CheckDeclaredOnce(spec, problems);
        if (problems.Any)
            return;
        CheckClassMembers(spec, problems);
        string[] ofRings = [.. spec.Rings.SelectMany(ring => RingNames.Types(RingNames.Prefix(ring, spec.Name)))];
        foreach (CompositeSpec composite in spec.Composites)
            CheckFields(composite, spec, ofRings, problems);
    }

    private static void CheckDeclaredOnce(ProtocolSpec spec, ProblemList problems)
    {
        // In C, macros, tags and typedefs have separate name spaces. Typedefs and structs share one here, because the
        // type of a member may be either.
        Distinct(spec.Abis, a => a.Name, problems);
        Distinct(spec.Constants, c => c.Name, problems);
        Distinct(spec.Rings, r => r.Name, problems);
        var types = new HashSet<string>(StringComparer.Ordinal);
        foreach (object type in spec.Typedefs.Cast<object>().Concat(spec.Composites))
        {
            string name = type is TypedefSpec typedef ? typedef.Name : ((CompositeSpec)type).Name;
            if (!types.Add(name) || TypeTable.IsScalar(name))
                problems.Add(Descriptors.DuplicateName, type, "name", name);
        }
        foreach (CompositeSpec composite in spec.Composites)
            Distinct(composite.Members, m => m.Name, problems);
    }

    private static void Distinct<T>(IEnumerable<T> items, Func<T, string> name, ProblemList problems)
        where T : class
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (T item in items.Where(item => !seen.Add(name(item))))
            problems.Add(Descriptors.DuplicateName, item, "name", name(item));
    }

    /// <summary>
    /// Constants, types, array types, ABI tags and ring types are members of the protocol's class. Case is ignored,
    /// because some of these names become names of generated files.
    /// </summary>
    private static void CheckClassMembers(ProtocolSpec spec, ProblemList problems)
    {
        string className = CSharpName.Pascal(spec.Name);
        var taken = NewScope(className, "the protocol's class", StringComparer.OrdinalIgnoreCase);
        foreach (string name in CSharpName.UsedByEmittedCode)
            taken[name] = "a name that the generated code uses";
        taken[CSharpName.LayoutFingerprint] = "the fingerprint of the protocol's layout";
        CheckName(spec, spec.Name, className, "", [], problems);

        foreach (AbiSpec abi in spec.Abis)
            CheckName(abi, abi.Name, CSharpName.Pascal(abi.Name), $"the tag of the ABI {abi.Name}", taken, problems);
        foreach (RingSpec ring in spec.Rings)
        {
            string prefix = RingNames.Prefix(ring, spec.Name);
            foreach (string type in RingNames.Types(prefix))
                CheckName(ring, ring.Name, type, $"a type of the ring {ring.Name}", taken, problems);
        }
        foreach (CompositeSpec composite in spec.Composites)
        {
            string type = CSharpName.Of(composite, spec.Name);
            CheckName(composite, composite.Name, type, $"the C# name of {composite.Name}", taken, problems);
            foreach (MemberSpec array in composite.Members.Where(m => m.Count is not null))
            {
                string name = TypeNames.Array(type, array);
                CheckName(array, array.Name, name, $"the array type of {composite.Name}.{array.Name}", taken, problems);
            }
        }
        foreach (ConstantSpec constant in spec.Constants)
        {
            string name = CSharpName.Of(constant, spec.Name);
            CheckName(constant, constant.Name, name, $"the C# name of {constant.Name}", taken, problems);
        }
    }

    private static void CheckFields(CompositeSpec composite, ProtocolSpec spec, string[] ofRings, ProblemList problems)
    {
        var taken = NewScope(
            CSharpName.Of(composite, spec.Name),
            "the name of the struct itself",
            StringComparer.Ordinal
        );
        // The decoded message of a ring has the same members.
        foreach (string type in ofRings)
            taken[type] = "a type of a ring";
        foreach (MemberSpec member in composite.Members)
            CheckName(member, member.Name, CSharpName.Of(member), $"the C# name of {member.Name}", taken, problems);
        if (composite.Tail is { } tail)
            CheckName(tail, tail.Name, TypeNames.TailOffset(tail.Name), $"the offset of {tail.Name}", taken, problems);
    }

    private static Dictionary<string, string> NewScope(string owner, string ownerIs, StringComparer comparer)
    {
        var taken = CSharpName.OfObject.ToDictionary(name => name, _ => "a method of every C# type", comparer);
        taken[owner] = ownerIs;
        return taken;
    }

    private static void CheckName(
        object part,
        string cName,
        string name,
        string meaning,
        Dictionary<string, string> taken,
        ProblemList problems
    )
    {
        if (!CSharpName.IsIdentifier(name))
            problems.Add(Descriptors.NotACSharpName, part, "name", cName, name);
        else if (taken.TryGetValue(name, out string? other))
            problems.Add(Descriptors.NameCollision, part, "name", cName, name, other);
        else
            taken.Add(name, meaning);
    }
}
